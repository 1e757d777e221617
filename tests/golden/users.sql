CREATE TABLE stored_users AS
FROM read_parquet('state/users.parquet');
CREATE TABLE db_users AS
FROM stored_users
WHERE status <> 'removed';

CREATE TABLE users_lines AS
WITH holders AS (
    SELECT user_key AS key, user_id AS identifier, source_key, source
    FROM db_users
    WHERE user_id IN (SELECT identifier FROM identifiers_in_lines)
),
ours AS (
    FROM holders
    WHERE source = getvariable('source') OR getvariable('source') = getvariable('primary_source')
),
givers AS (
    SELECT old_id, new_id, key, source, source_key,
        CASE
            WHEN holder.source <> getvariable('source') THEN holder.source_key
            WHEN holder.source_key = '' || old_id THEN '' || new_id
            ELSE holder.source_key
        END AS new_source_key
    FROM id_changes
    JOIN ours AS holder ON holder.identifier = old_id
    WHERE entity = 'users'
),
takers AS (
    SELECT old_id, new_id, key, source, source_key AS new_source_key,
        CASE
            WHEN holder.source <> getvariable('source') THEN holder.source_key
            WHEN holder.source_key = '' || new_id THEN '' || old_id
            ELSE holder.source_key
        END AS source_key,
        (key, old_id) IN (SELECT (entity_key, old_id) FROM lasting_history WHERE entity = 'users') AS had_it
    FROM id_changes
    JOIN holders AS holder ON holder.identifier = new_id
    WHERE entity = 'users'
),
said AS (
    SELECT source_key, user_id AS identifier
    FROM read_parquet('canonical/users.parquet')
)
SELECT line, old_id, new_id, givers.key, givers.source_key, givers.new_source_key, givers.source,
    takers.key AS taker, takers.source AS taker_source, takers.source_key AS taker_source_key,
    takers.new_source_key AS taker_new_source_key, coalesce(takers.had_it, false) AS has_it,
    EXISTS (
        FROM said
        WHERE takers.source_key = takers.new_source_key AND said.source_key = takers.source_key
            AND said.identifier <> new_id
    ) AS taker_leaves
FROM id_changes
LEFT JOIN givers USING (old_id, new_id)
LEFT JOIN takers USING (old_id, new_id)
WHERE entity = 'users'
    AND NOT EXISTS (
        FROM said
        WHERE givers.source_key = givers.new_source_key AND said.source_key = givers.source_key
            AND said.identifier IS DISTINCT FROM old_id
    );

CREATE TABLE users_lines_ends AS
SELECT this.old_id, coalesce(next.old_id, this.old_id) AS last_id
FROM users_lines AS this
LEFT JOIN users_lines AS next ON next.old_id = this.new_id AND this.has_it;

CREATE OR REPLACE TABLE users_lines_ends AS
SELECT this.old_id, further.last_id
FROM users_lines_ends AS this
JOIN users_lines_ends AS further ON further.old_id = this.last_id;

CREATE TABLE users_lines_done AS
SELECT asked.*
FROM users_lines AS asked
JOIN users_lines_ends USING (old_id)
JOIN users_lines AS end_line ON end_line.old_id = last_id
WHERE asked.has_it AND end_line.has_it;
CREATE TABLE users_lines_pending AS
FROM users_lines
ANTI JOIN users_lines_done USING (old_id)
WHERE key IS NOT NULL;

CREATE TABLE users_lines_pending_ends AS
SELECT this.old_id, coalesce(next.old_id, this.old_id) AS last_id
FROM users_lines_pending AS this
LEFT JOIN users_lines_pending AS next ON next.old_id = this.new_id AND true;

CREATE OR REPLACE TABLE users_lines_pending_ends AS
SELECT this.old_id, further.last_id
FROM users_lines_pending_ends AS this
JOIN users_lines_pending_ends AS further ON further.old_id = this.last_id;

CREATE TABLE users_renames AS
WITH kept AS (
    SELECT last.old_id
    FROM users_lines_pending AS last
    WHERE last.new_id NOT IN (SELECT old_id FROM users_lines_pending)
        AND (
            taker IS NOT NULL AND NOT taker_leaves
            OR EXISTS (
                FROM db_users AS other
                WHERE other.source_key = last.new_source_key AND other.source = last.source
                    AND other.user_key <> last.key
            )
        )
)
SELECT line, pending.old_id, new_id, key, source_key, new_source_key,
    CASE WHEN last_id IN (FROM kept) THEN 'taken' ELSE 'open' END AS fate
FROM users_lines_pending AS pending
JOIN users_lines_pending_ends USING (old_id)
UNION ALL
SELECT line, old_id, new_id, taker, taker_source_key, taker_new_source_key, 'done'
FROM users_lines_done
UNION ALL
SELECT line, old_id, new_id, NULL, NULL, NULL,
    CASE
        WHEN (old_id, new_id) IN (SELECT (old_id, new_id) FROM lasting_history WHERE entity = 'users')
        THEN 'done'
        ELSE 'unknown'
    END
FROM users_lines
WHERE key IS NULL AND old_id NOT IN (SELECT old_id FROM users_lines_done);
CREATE TABLE users_in_id_changes AS
WITH turned AS (
    SELECT turn.new_id, turn.taker
    FROM users_lines_done AS turn
    JOIN users_lines_ends USING (old_id)
    JOIN users_lines_done AS end_line ON end_line.old_id = last_id
    WHERE end_line.new_id IN (SELECT old_id FROM users_lines_done)
)
SELECT key
FROM users_renames
WHERE key IS NOT NULL AND key NOT IN (SELECT taker FROM turned)
UNION
SELECT user_key
FROM db_users
JOIN identifiers_in_lines AS line ON line.entity = 'users' AND line.identifier = user_id
WHERE user_id NOT IN (SELECT new_id FROM turned);
CREATE VIEW users_addressed AS
SELECT old.* REPLACE (
    coalesce(renamed.new_source_key, old.source_key) AS source_key,
    coalesce(renamed.new_id, old.user_id) AS user_id
)
FROM db_users AS old
LEFT JOIN (FROM users_renames WHERE fate = 'open') AS renamed ON renamed.key = old.user_key;

CREATE TABLE users_aliases AS
WITH said AS (
    SELECT DISTINCT source_key
    FROM read_parquet('canonical/users.parquet')
),
lines AS (
    SELECT old_id, new_id
    FROM id_changes
    WHERE entity = 'users'
)
SELECT source_key, new_source_key, old_id, new_id
FROM users_renames
WHERE fate IN ('open', 'done')
    AND (
        source_key = new_source_key
        OR (
            new_source_key NOT IN (SELECT source_key FROM said WHERE source_key IS NOT NULL)
            AND new_id NOT IN (SELECT old_id FROM lines)
            AND old_id NOT IN (SELECT new_id FROM lines)
        )
    );

CREATE TABLE users_edited AS
WITH said AS (
    SELECT DISTINCT source_key
    FROM read_parquet('canonical/users.parquet')
    WHERE source_key IS NOT NULL
),
lost AS (
    SELECT entity_key, json_extract_string(before_json, '$.user_id') AS old_id, state_after
    FROM stored_edits
    WHERE entity = 'users'
),
meant AS (
    SELECT CASE
            WHEN holder.source <> getvariable('source') THEN holder.source_key
            WHEN holder.source_key = '' || holder.user_id THEN '' || old_id
            ELSE holder.source_key
        END AS source_key,
        holder.source_key AS new_source_key, old_id, holder.user_id AS new_id, state_after
    FROM lost
    JOIN db_users AS holder ON holder.user_key = entity_key
    WHERE old_id NOT IN (SELECT user_id FROM db_users WHERE user_id IS NOT NULL)
        AND holder.user_id IS NOT NULL AND holder.source = getvariable('source')
)
SELECT source_key, new_source_key, old_id, new_id
FROM meant
WHERE source_key IN (FROM said) AND (source_key = new_source_key OR new_source_key NOT IN (FROM said))
QUALIFY row_number() OVER (PARTITION BY source_key ORDER BY state_after DESC) = 1;

CREATE TABLE users_edited_values AS
WITH last AS (
    SELECT entity_key,
        arg_max({
            'was': json_extract_string(before_json, '$.user_district_id'),
            'made': json_extract_string(after_json, '$.user_district_id')
        }, state_after) FILTER (json_exists(before_json, '$.user_district_id')) AS user_district_id,
        arg_max({
            'was': json_extract_string(before_json, '$.user_state_id'),
            'made': json_extract_string(after_json, '$.user_state_id')
        }, state_after) FILTER (json_exists(before_json, '$.user_state_id')) AS user_state_id
    FROM stored_edits
    WHERE entity = 'users'
    GROUP BY entity_key
)
SELECT source_key,
    CASE
        WHEN old.user_district_id IS NOT DISTINCT FROM last.user_district_id.made THEN last.user_district_id
    END AS user_district_id,
    CASE
        WHEN old.user_state_id IS NOT DISTINCT FROM last.user_state_id.made THEN last.user_state_id
    END AS user_state_id
FROM last
JOIN db_users AS old ON old.user_key = entity_key AND old.source = getvariable('source');

INSERT INTO users_aliases
FROM users_edited
WHERE old_id NOT IN (SELECT identifier FROM identifiers_in_lines WHERE entity = 'users')
    AND new_id NOT IN (SELECT identifier FROM identifiers_in_lines WHERE entity = 'users');

CREATE TABLE users_merged (source_key VARCHAR, new_source_key VARCHAR, old_id VARCHAR, new_id VARCHAR, key BIGINT);

CREATE TABLE users_doubled (source_key VARCHAR);

CREATE TABLE users_accepted AS
SELECT given.* REPLACE (
    CASE
        WHEN edited.user_district_id IS NOT NULL AND edited.user_district_id.was IS NOT DISTINCT FROM given.user_district_id
        THEN edited.user_district_id.made
        ELSE given.user_district_id
    END AS user_district_id,
    CASE
        WHEN edited.user_state_id IS NOT NULL AND edited.user_state_id.was IS NOT DISTINCT FROM given.user_state_id
        THEN edited.user_state_id.made
        ELSE given.user_state_id
    END AS user_state_id
)
FROM (
SELECT given.* REPLACE (
    coalesce(users_alias.new_source_key, given.source_key) AS source_key,
    CASE WHEN given.user_id = users_alias.old_id THEN users_alias.new_id ELSE given.user_id END AS user_id
)
FROM (
SELECT file, line, len(lines) AS lines, NULL::VARCHAR[] AS files, NULL::VARCHAR[] AS kept,
    source_key, user_id, user_district_id, user_state_id, role, given_name, middle_name, family_name, email,
    username, grade, birth_date, status
FROM read_parquet('canonical/users.parquet') AS given
ANTI JOIN read_parquet('accepted/users-aside.parquet') AS aside USING (row_id)
UNION ALL
SELECT file, line, lines, files, kept,
    source_key, user_id, user_district_id, user_state_id, role, given_name, middle_name, family_name, email,
    username, grade, birth_date, status
FROM read_parquet('accepted/users.parquet')
) AS given
LEFT JOIN users_aliases AS users_alias ON users_alias.source_key = given.source_key
) AS given
LEFT JOIN users_edited_values AS edited USING (source_key);
CREATE TABLE users_delivered AS
SELECT given.* REPLACE (
    coalesce(users_alias.new_source_key, given.source_key) AS source_key
)
FROM (
SELECT source_key
FROM read_parquet('canonical/users.parquet')
WHERE source_key IS NOT NULL
) AS given
LEFT JOIN users_aliases AS users_alias ON users_alias.source_key = given.source_key;;

CREATE VIEW users_removals AS
SELECT given.* REPLACE (
    coalesce(users_alias.new_source_key, given.source_key) AS source_key
)
FROM (
SELECT source_key, file, line
FROM removals
WHERE entity = 'users'
) AS given
LEFT JOIN users_aliases AS users_alias ON users_alias.source_key = given.source_key;

CREATE VIEW users_resolved AS
SELECT new.*
FROM users_accepted AS new
WHERE true;

CREATE TABLE users_dangling AS
SELECT new.source_key, file, line,
    false AS waits
FROM users_accepted AS new
WHERE false;

CREATE TABLE users_held (source_key VARCHAR, code VARCHAR, old_key BIGINT);

CREATE TABLE users_behind AS
SELECT source_key, user_id, NULL::BIGINT AS user_key, false AS alike
FROM users_resolved;

CREATE VIEW users_differing AS FROM users_resolved;
CREATE VIEW users_in_question AS FROM db_users;

CREATE TABLE users_matched AS
WITH others AS (
    SELECT *
    FROM users_addressed
    WHERE source <> getvariable('source') AND user_id IS NOT NULL
),
pairs AS (
    SELECT new.*, CASE WHEN own.user_key IS NULL THEN others ELSE own END AS old
    FROM users_differing AS new
    LEFT JOIN users_addressed AS own ON own.source = getvariable('source') AND own.source_key = new.source_key
    LEFT JOIN others ON others.user_id = new.user_id AND own.user_key IS NULL
        AND kind_of(others.role) = kind_of(new.role)
)
SELECT source_key, user_id, old.user_key AS old_key,
    differ(new.given_name, old.given_name)
        AND differ(new.family_name, old.family_name)
        AND (differ(new.birth_date, old.birth_date) OR differ(new.email, old.email)) AS another,
    another
        OR (differ(new.birth_date, old.birth_date) OR differ(new.email, old.email)) AND NOT (
            agree(new.user_district_id, old.user_district_id)
            OR agree(new.user_state_id, old.user_state_id)
            OR agree(new.email, old.email)
            OR agree(new.birth_date, old.birth_date)
        ) AS stranger,
    differ(new.given_name, old.given_name) OR differ(new.family_name, old.family_name) OR stranger AS unlike,
    false AS alike
FROM pairs AS new
UNION ALL
SELECT source_key, user_id, user_key, false, false, false, true
FROM users_behind
WHERE alike;
CREATE TABLE users_without_row AS
SELECT old.user_key, old.source_key IN (SELECT source_key FROM users_delivered) AS rejected
FROM users_in_question AS old
ANTI JOIN users_matched AS matched ON matched.old_key = old.user_key
ANTI JOIN users_in_id_changes AS named ON named.key = old.user_key
WHERE old.source = getvariable('source') AND old.user_key NOT IN (SELECT user_key FROM stored_merges);
CREATE VIEW users_absent AS
SELECT user_key
FROM users_without_row
WHERE NOT rejected;

CREATE TABLE users_open_rows AS
SELECT source_key, old_key AS own_key, stranger
FROM users_matched
WHERE old_key IS NULL OR unlike AND old_key NOT IN (SELECT key FROM users_in_id_changes);

CREATE TABLE users_open_records AS
SELECT user_key, NOT rejected AS free, rejected, NULL AS own_row
FROM users_without_row
UNION ALL
SELECT own_key, true, false, source_key
FROM users_open_rows
WHERE own_key IS NOT NULL
UNION ALL
SELECT key, false, false, NULL
FROM users_in_id_changes
UNION ALL
SELECT user_key, false, false, NULL
FROM users_in_question AS old
WHERE source <> getvariable('source')
    AND user_key NOT IN (SELECT key FROM users_in_id_changes)
    AND NOT EXISTS (FROM users_matched AS matched WHERE matched.old_key = old.user_key);

INSERT INTO users_held
SELECT new.source_key, 'ID-LEADING-ZERO', old.user_key
FROM (
    FROM users_differing
    SEMI JOIN (FROM users_matched WHERE old_key IS NULL) USING (source_key)
    WHERE regexp_full_match(user_id, '[0-9]+')
) AS new
JOIN (
    FROM users_in_question
    SEMI JOIN (FROM users_open_records WHERE own_row IS NULL AND NOT rejected) USING (user_key)
    WHERE user_id LIKE '0%'
) AS old ON ltrim(old.user_id, '0') = ltrim(new.user_id, '0')
WHERE length(old.user_id) > length(new.user_id) AND kind_of(old.role) = kind_of(new.role);

CREATE TABLE users_lookalikes AS
WITH seekers AS (
    FROM users_differing
    JOIN users_open_rows USING (source_key)
),
missed AS (
    FROM users_in_question
    JOIN users_open_records USING (user_key)
    WHERE source = getvariable('source')
),

sought_emails AS (
    SELECT lower(email)
    FROM seekers
    WHERE email IS NOT NULL
),
clashing_emails AS (
    SELECT lower(email) AS address, kind_of(users_resolved.role) AS kind
    FROM users_resolved
    WHERE lower(email) IN (FROM sought_emails)
    GROUP BY ALL
    HAVING count(*) > 1
    UNION
    SELECT lower(email), kind_of(unsaid.role)
    FROM users_in_question AS unsaid
    ANTI JOIN (FROM users_matched WHERE NOT unlike) AS matched ON matched.old_key = unsaid.user_key
    WHERE lower(email) IN (FROM sought_emails) AND status = 'active'
    GROUP BY ALL
    HAVING count(*) > 1
),
candidates AS (
    SELECT source_key, user_key, bool_or(strong) AS strong
    FROM (
        SELECT new.source_key, old.user_key, true AS strong
        FROM seekers AS new
        JOIN missed AS old ON new.user_district_id = old.user_district_id
            AND lower(new.given_name) = lower(old.given_name) AND lower(new.family_name) = lower(old.family_name)
        UNION ALL
        SELECT new.source_key, old.user_key, true AS strong
        FROM seekers AS new
        JOIN missed AS old ON new.user_state_id = old.user_state_id
            AND lower(new.given_name) = lower(old.given_name) AND lower(new.family_name) = lower(old.family_name)
        UNION ALL
        SELECT new.source_key, old.user_key, true AS strong
        FROM seekers AS new
        JOIN missed AS old ON new.birth_date = old.birth_date
            AND lower(new.given_name) = lower(old.given_name) AND lower(new.family_name) = lower(old.family_name)
        UNION ALL
        SELECT new.source_key, old.user_key, (lower(new.email), kind_of(new.role)) NOT IN (FROM clashing_emails)
        FROM seekers AS new
        JOIN missed AS old ON lower(new.email) = lower(old.email)
            AND lower(new.given_name) = lower(old.given_name) AND lower(new.family_name) = lower(old.family_name)
    )
    GROUP BY ALL
),
schoolmates AS (
    SELECT DISTINCT candidates.source_key, user_key
    FROM candidates
    JOIN memberships_accepted AS new ON new.user_source_key = candidates.source_key
    JOIN organizations_lookup AS organization ON organization.source_key = new.organization_source_key
    JOIN db_memberships AS old USING (user_key)
    WHERE old.organization_key = organization.key AND old.status = 'active'
),
pairs AS (
    SELECT candidates.source_key, own_key, old.user_key AS old_key, own_row, free, rejected, true AS near,
        new.user_district_id IS NOT DISTINCT FROM old.user_district_id
            AND new.user_state_id IS NOT DISTINCT FROM old.user_state_id
            AND new.given_name IS NOT DISTINCT FROM old.given_name
            AND new.middle_name IS NOT DISTINCT FROM old.middle_name
            AND new.family_name IS NOT DISTINCT FROM old.family_name
            AND new.email IS NOT DISTINCT FROM old.email
            AND new.grade IS NOT DISTINCT FROM old.grade
            AND new.birth_date IS NOT DISTINCT FROM old.birth_date
            AND kind_of(new.role) = kind_of(old.role)
            AND old.status = 'active'
            AND strong
            AND schoolmates.source_key IS NOT NULL AS fits
    FROM candidates
    JOIN seekers AS new ON new.source_key = candidates.source_key
    JOIN missed AS old ON old.user_key = candidates.user_key
    LEFT JOIN schoolmates ON schoolmates.source_key = candidates.source_key
        AND schoolmates.user_key = candidates.user_key
),
leaving AS (
    SELECT source_key
    FROM seekers
    WHERE stranger
    UNION
    SELECT unnest([source_key, own_row])
    FROM pairs
    WHERE fits AND near
)
SELECT source_key, old_key, near,
    fits AND free AND near
        AND count(*) FILTER (near) OVER (PARTITION BY source_key) = 1
        AND count(*) FILTER (near) OVER (PARTITION BY old_key) = 1 AS alone,
    count(*) FILTER (true) OVER (PARTITION BY source_key) = 1
        AND count(*) FILTER (true) OVER (PARTITION BY old_key) = 1 AS single
FROM pairs
WHERE (own_key IS NULL OR source_key IN (FROM leaving))
    AND (own_row IS NULL OR own_row IN (FROM leaving WHERE source_key IS NOT NULL))
    AND (fits OR NOT rejected);

CREATE TABLE users_forgotten (source_key VARCHAR, user_key BIGINT, state_after BIGINT);

INSERT INTO users_held
WITH ambiguous AS (
    FROM users_lookalikes
    WHERE near AND NOT alone
),
reasons AS (
    SELECT new.source_key, 'PLAN-REIDENTIFY-TAKEN' AS code, renamed.key AS old_key, 1 AS place
    FROM users_matched AS new
    JOIN users_renames AS renamed ON new.source_key IN (renamed.source_key, renamed.new_source_key)
    WHERE fate = 'taken'
    UNION ALL
    SELECT source_key, 'PLAN-AMBIGUOUS', old_key, 2
    FROM ambiguous
    UNION ALL
    SELECT source_key, 'PLAN-AMBIGUOUS', old_key, 3
    FROM users_matched
    WHERE unlike AND NOT another AND old_key IN (SELECT old_key FROM ambiguous)
        AND source_key NOT IN (SELECT source_key FROM users_lookalikes WHERE alone)
)
SELECT source_key, code, old_key
FROM reasons
WHERE source_key NOT IN (SELECT source_key FROM users_held)
QUALIFY rank() OVER (PARTITION BY source_key ORDER BY place) = 1;

CREATE TABLE users_renamed_alone AS
SELECT key, renamed.key IS NOT NULL AS goes, new_source_key, new_id
FROM users_in_id_changes
ANTI JOIN users_matched AS matched ON matched.old_key = key
LEFT JOIN (FROM users_renames WHERE fate = 'open') AS renamed USING (key);
CREATE TABLE users_candidates AS
SELECT new.source_key, new.user_id, CASE WHEN another OR found_by.old_key IS NOT NULL THEN found.old_key
        ELSE coalesce(found.old_key, new.old_key) END AS old_key, false AS rowless, false AS alike
FROM (FROM users_matched WHERE NOT alike) AS new
LEFT JOIN (FROM users_lookalikes WHERE alone) AS found USING (source_key)
LEFT JOIN (FROM users_lookalikes WHERE alone) AS found_by ON found_by.old_key = new.old_key
WHERE source_key NOT IN (SELECT source_key FROM users_held)
UNION ALL
SELECT source_key, user_id, old_key, false, true
FROM users_matched
WHERE alike AND source_key NOT IN (SELECT source_key FROM users_held)
UNION ALL
SELECT new_source_key, new_id, key, true, false
FROM users_renamed_alone
WHERE goes;

CREATE VIEW users_released AS
WITH going AS (
    FROM users_candidates
    WHERE source_key NOT IN (SELECT source_key FROM users_held)
)
SELECT matched.old_key AS key, source_key
FROM users_matched AS matched
SEMI JOIN (FROM going WHERE old_key IS NULL) USING (source_key)
WHERE false AND another
    AND matched.old_key NOT IN (SELECT old_key FROM going WHERE old_key IS NOT NULL)
    AND matched.old_key NOT IN (SELECT old_key FROM users_held WHERE old_key IS NOT NULL);

CREATE TABLE users_claims AS
SELECT going.source_key, old_key,
    CASE WHEN going.user_id IS DISTINCT FROM old.user_id THEN going.user_id END AS new_user_id,
    CASE WHEN going.source_key IS DISTINCT FROM old.source_key THEN going.source_key END AS new_source_key
FROM (FROM users_candidates WHERE NOT alike) AS going
LEFT JOIN db_users AS old ON old.user_key = old_key
WHERE new_user_id IS NOT NULL OR new_source_key IS NOT NULL;

CREATE TABLE users_contested_user_id AS
SELECT claims.source_key, holder.user_key AS holder, leaver.source_key AS leaver
FROM users_claims AS claims
JOIN db_users AS holder ON holder.user_id = claims.new_user_id
LEFT JOIN (FROM users_candidates WHERE NOT alike) AS leaver ON leaver.old_key = holder.user_key
    AND leaver.user_id IS DISTINCT FROM holder.user_id;

CREATE TABLE users_contested_source_key AS
SELECT claims.source_key, holder.user_key AS holder, leaver.source_key AS leaver
FROM users_claims AS claims
JOIN db_users AS holder ON holder.source_key = claims.new_source_key AND holder.source = getvariable('source')
LEFT JOIN (FROM users_candidates WHERE NOT alike) AS leaver ON leaver.old_key = holder.user_key
    AND leaver.source_key IS DISTINCT FROM holder.source_key;

CREATE OR REPLACE TABLE users_chains AS
WITH present AS (
    SELECT source_key, holder,
        CASE WHEN leaver NOT IN (SELECT source_key FROM users_held) THEN leaver END AS next
    FROM users_contested_user_id
    WHERE source_key NOT IN (SELECT source_key FROM users_held)
)
SELECT source_key, next, next IS NULL AND holder NOT IN (SELECT key FROM users_released) AS kept
FROM present;

INSERT INTO users_held
WITH going AS (
    FROM users_claims
    ANTI JOIN users_held USING (source_key)
),
doubled AS (
    SELECT new_user_id
    FROM going
    WHERE new_user_id IS NOT NULL
    GROUP BY ALL
    HAVING count(*) > 1
)
SELECT claims.source_key,
    CASE WHEN another AND claims.old_key IS NULL THEN 'PLAN-RECYCLED' ELSE 'PLAN-REIDENTIFY-TAKEN' END,
    coalesce(claims.old_key, matched.old_key)
FROM going AS claims
LEFT JOIN users_matched AS matched USING (source_key)
WHERE claims.new_user_id IN (FROM doubled)
    OR claims.source_key IN (SELECT source_key FROM users_chains WHERE kept)
RETURNING source_key;

CREATE OR REPLACE TABLE users_chains AS
WITH present AS (
    SELECT source_key, holder,
        CASE WHEN leaver NOT IN (SELECT source_key FROM users_held) THEN leaver END AS next
    FROM users_contested_source_key
    WHERE source_key NOT IN (SELECT source_key FROM users_held)
)
SELECT source_key, next, next IS NULL AND holder NOT IN (SELECT key FROM users_released) AS kept
FROM present;

INSERT INTO users_held
WITH going AS (
    FROM users_claims
    ANTI JOIN users_held USING (source_key)
),
doubled AS (
    SELECT new_source_key
    FROM going
    WHERE new_source_key IS NOT NULL
    GROUP BY ALL
    HAVING count(*) > 1
)
SELECT claims.source_key,
    CASE WHEN another AND claims.old_key IS NULL THEN 'PLAN-RECYCLED' ELSE 'PLAN-REIDENTIFY-TAKEN' END,
    coalesce(claims.old_key, matched.old_key)
FROM going AS claims
LEFT JOIN users_matched AS matched USING (source_key)
WHERE claims.new_source_key IN (FROM doubled)
    OR claims.source_key IN (SELECT source_key FROM users_chains WHERE kept)
RETURNING source_key;

CREATE TABLE users_assigned AS
WITH highest AS (
    SELECT coalesce(max(user_key), 0) AS used
    FROM stored_users
),
going AS (
    SELECT source_key, old_key, alike
    FROM users_candidates
    WHERE NOT rowless AND source_key NOT IN (SELECT source_key FROM users_held)
)
SELECT source_key, old_key, old_key AS user_key, alike
FROM going
WHERE old_key IS NOT NULL
UNION ALL
SELECT source_key, old_key, used + row_number() OVER (ORDER BY source_key), false
FROM going, highest
WHERE old_key IS NULL;
UPDATE users_renamed_alone
SET goes = false
WHERE (new_source_key, key) IN (SELECT (source_key, old_key) FROM users_held);
CREATE TABLE users_unplanned AS
SELECT source_key FROM users_held
UNION
SELECT source_key FROM users_dangling;
CREATE TABLE users_lookup AS
WITH of_no_row AS (
    SELECT old.user_key AS key, coalesce(renamed.new_source_key, old.source_key) AS source_key
    FROM db_users AS old
    LEFT JOIN (FROM users_renamed_alone WHERE goes) AS renamed ON renamed.key = old.user_key
    ANTI JOIN users_assigned USING (user_key)
    WHERE old.source = getvariable('source')
)
SELECT source_key, user_key AS key, false AS waits
FROM users_assigned
UNION ALL
SELECT source_key, key, source_key IN (SELECT source_key FROM users_unplanned)
FROM of_no_row
WHERE source_key NOT IN (SELECT source_key FROM users_assigned);

CREATE TABLE users_reidentifications AS
SELECT 'reidentify' AS operation, 'id_changes.csv' AS file, renamed.line,
    'id_changes.csv says so' AS reason, false AS explicit,
    old.* REPLACE (renamed.new_source_key AS source_key, renamed.new_id AS user_id)
FROM users_renamed_alone AS unsaid
JOIN users_renames AS renamed ON renamed.key = unsaid.key AND renamed.fate = 'open'
JOIN db_users AS old ON old.user_key = unsaid.key
WHERE unsaid.goes;

CREATE VIEW users_holders AS
FROM db_users
ANTI JOIN users_assigned USING (user_key)
WHERE status = 'active' AND source <> getvariable('source') AND user_key NOT IN (SELECT key FROM users_released);

CREATE TABLE users_clashes (source_key VARCHAR, field VARCHAR, code VARCHAR);

CREATE VIEW users_lookup_with_history AS
SELECT source_key, key
FROM users_lookup
UNION
SELECT source_key, key
FROM users_renames
WHERE key IS NOT NULL
UNION
SELECT '' || old_id, entity_key
FROM stored_history
WHERE entity = 'users'
UNION
SELECT 'student:' || old_id, entity_key
FROM stored_history
WHERE entity = 'users'
UNION
SELECT 'staff:' || old_id, entity_key
FROM stored_history
WHERE entity = 'users'
UNION
SELECT source_key, key
FROM users_merged;;

CREATE TABLE users_departures AS
SELECT user_key, bool_or(explicit) AS explicit, any_value(file) AS file, any_value(line) AS line,
    coalesce(max(reason) FILTER (explicit), max(reason)) AS reason
FROM (
SELECT old.user_key, true AS explicit, removal.file, removal.line, 'the batch removes the user' AS reason
FROM users_removals AS removal
JOIN users_lookup ON users_lookup.source_key = removal.source_key
JOIN db_users AS old ON old.user_key = users_lookup.key
WHERE old.status = 'active' UNION ALL
(
    WITH users_mentioned AS (
    SELECT user_key
    FROM users_assigned
    UNION ALL
    SELECT old_key
    FROM users_held
    WHERE old_key IS NOT NULL
    UNION ALL
    SELECT user_key
    FROM users_doubtful)
    SELECT old.user_key, false AS explicit, NULL AS file, NULL::BIGINT AS line,
        'the batch no longer has it' AS reason
    FROM (FROM db_users SEMI JOIN users_absent USING (user_key)) AS old
    WHERE old.status = 'active'
        AND old.source = getvariable('source')
        AND (NOT EXISTS (FROM users_mentioned AS mentioned WHERE mentioned.user_key = old.user_key))
))
GROUP BY ALL;

CREATE TABLE users_changes AS
WITH images AS (
    SELECT user_key,
        new.source_key AS source_key,
        CASE WHEN list_contains(new.kept, 'user_id') AND new.user_id IS NULL
            THEN old.user_id
            ELSE new.user_id END AS user_id,
        CASE WHEN list_contains(new.kept, 'user_district_id') AND new.user_district_id IS NULL
            THEN old.user_district_id
            ELSE new.user_district_id END AS user_district_id,
        CASE WHEN list_contains(new.kept, 'user_state_id') AND new.user_state_id IS NULL
            THEN old.user_state_id
            ELSE new.user_state_id END AS user_state_id,
        CASE WHEN list_contains(new.kept, 'role') AND new.role IS NULL
            THEN old.role
            ELSE new.role END AS role,
        CASE WHEN list_contains(new.kept, 'given_name') AND new.given_name IS NULL
            THEN old.given_name
            ELSE new.given_name END AS given_name,
        CASE WHEN list_contains(new.kept, 'middle_name') AND new.middle_name IS NULL
            THEN old.middle_name
            ELSE new.middle_name END AS middle_name,
        CASE WHEN list_contains(new.kept, 'family_name') AND new.family_name IS NULL
            THEN old.family_name
            ELSE new.family_name END AS family_name,
        CASE WHEN list_contains(new.kept, 'email') AND new.email IS NULL
            THEN old.email
            ELSE new.email END AS email,
        CASE WHEN list_contains(new.kept, 'username') AND new.username IS NULL
            THEN old.username
            ELSE new.username END AS username,
        CASE WHEN list_contains(new.kept, 'grade') AND new.grade IS NULL
            THEN old.grade
            ELSE new.grade END AS grade,
        CASE WHEN list_contains(new.kept, 'birth_date') AND new.birth_date IS NULL
            THEN old.birth_date
            ELSE new.birth_date END AS birth_date,
        'active' AS status,
        getvariable('source') AS source,
        new.file, new.line, old
    FROM users_differing AS new
    JOIN (FROM users_assigned WHERE NOT alike) USING (source_key)
    LEFT JOIN db_users AS old USING (user_key)
)
SELECT CASE
        WHEN old.status IS NULL THEN 'create'
        WHEN old.status = 'active' AND images.status = 'inactive' THEN 'deactivate'
        WHEN old.user_id <> user_id THEN 'reidentify'
        WHEN old.status = 'removed' OR old.status = 'inactive' AND images.status = 'active' THEN 'reactivate'
        ELSE 'update'
    END AS operation, file, line, NULL::VARCHAR AS reason,
    false AS explicit,
    user_key, source_key, user_id, user_district_id, user_state_id, role, given_name, middle_name,
    family_name, email, username, grade, birth_date, status, source
FROM images
WHERE (
        old.status IS NULL
        OR old.source_key IS DISTINCT FROM source_key
        OR old.user_id IS DISTINCT FROM user_id
        OR old.user_district_id IS DISTINCT FROM user_district_id
        OR old.user_state_id IS DISTINCT FROM user_state_id
        OR old.role IS DISTINCT FROM role
        OR old.given_name IS DISTINCT FROM given_name
        OR old.middle_name IS DISTINCT FROM middle_name
        OR old.family_name IS DISTINCT FROM family_name
        OR old.email IS DISTINCT FROM email
        OR old.username IS DISTINCT FROM username
        OR old.grade IS DISTINCT FROM grade
        OR old.birth_date IS DISTINCT FROM birth_date
        OR old.status IS DISTINCT FROM status
        OR old.source IS DISTINCT FROM source
    )
    AND (
        getvariable('source') = getvariable('primary_source')
        OR coalesce(old.source = getvariable('source'), true)
    );

CREATE TABLE users_deactivations AS
SELECT 'deactivate' AS operation, gone.file, gone.line, gone.reason, gone.explicit,
    old.* REPLACE (
        'inactive' AS status,
        CASE
            WHEN released.key IS NOT NULL THEN 'released:' || old.user_key || ':' || old.source_key
            ELSE coalesce(renamed.source_key, old.source_key)
        END AS source_key,
        CASE WHEN NOT released.key IS NOT NULL THEN coalesce(renamed.user_id, old.user_id) END AS user_id
    )
FROM users_departures AS gone
JOIN db_users AS old USING (user_key)
LEFT JOIN users_released AS released ON released.key = old.user_key
LEFT JOIN users_reidentifications AS renamed USING (user_key);

CREATE TABLE users_after AS
FROM users_changes
UNION ALL BY NAME
FROM users_deactivations
UNION ALL BY NAME
FROM users_reidentifications ANTI JOIN users_deactivations USING (user_key);

CREATE TABLE users_before AS
FROM stored_users
SEMI JOIN users_after USING (user_key);
