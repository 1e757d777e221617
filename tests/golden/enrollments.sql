CREATE TABLE stored_enrollments AS
FROM read_parquet('state/enrollments.parquet');
CREATE TABLE db_enrollments AS
FROM stored_enrollments
WHERE status <> 'removed';

CREATE TABLE enrollments_doubled (class_source_key VARCHAR, user_source_key VARCHAR);

CREATE TABLE enrollments_accepted AS
SELECT given.* REPLACE (
    coalesce(classes_alias.new_source_key, given.class_source_key) AS class_source_key,
    coalesce(users_alias.new_source_key, given.user_source_key) AS user_source_key
)
FROM (
SELECT file, line, len(lines) AS lines, NULL::VARCHAR[] AS files, NULL::VARCHAR[] AS kept,
    class_source_key, user_source_key, role, is_primary, status
FROM read_parquet('canonical/enrollments.parquet') AS given
ANTI JOIN read_parquet('accepted/enrollments-aside.parquet') AS aside USING (row_id)
UNION ALL
SELECT file, line, lines, files, kept,
    class_source_key, user_source_key, role, is_primary, status
FROM read_parquet('accepted/enrollments.parquet')
) AS given
LEFT JOIN classes_aliases AS classes_alias ON classes_alias.source_key = given.class_source_key
LEFT JOIN users_aliases AS users_alias ON users_alias.source_key = given.user_source_key;
CREATE TABLE enrollments_delivered AS
SELECT given.* REPLACE (
    coalesce(classes_alias.new_source_key, given.class_source_key) AS class_source_key,
    coalesce(users_alias.new_source_key, given.user_source_key) AS user_source_key
)
FROM (
SELECT class_source_key, user_source_key
FROM read_parquet('canonical/enrollments.parquet')
WHERE class_source_key IS NOT NULL AND user_source_key IS NOT NULL
) AS given
LEFT JOIN classes_aliases AS classes_alias ON classes_alias.source_key = given.class_source_key
LEFT JOIN users_aliases AS users_alias ON users_alias.source_key = given.user_source_key;

CREATE TABLE enrollments_aside AS
SELECT class_source_key, user_source_key
FROM read_parquet('canonical/enrollments.parquet')
SEMI JOIN read_parquet('accepted/enrollments-aside.parquet') AS aside USING (row_id);

CREATE VIEW enrollments_removals AS
SELECT given.* REPLACE (
    coalesce(classes_alias.new_source_key, given.class_source_key) AS class_source_key,
    coalesce(users_alias.new_source_key, given.user_source_key) AS user_source_key
)
FROM (
SELECT class_source_key, user_source_key, file, line
FROM removals
WHERE entity = 'enrollments'
) AS given
LEFT JOIN classes_aliases AS classes_alias ON classes_alias.source_key = given.class_source_key
LEFT JOIN users_aliases AS users_alias ON users_alias.source_key = given.user_source_key;

CREATE TABLE enrollments_resolved AS
SELECT classes_link.key AS class_key, users_link.key AS user_key, role, is_primary, status, file, line, files, kept
FROM enrollments_accepted AS new
JOIN classes_lookup AS classes_link ON classes_link.source_key = new.class_source_key AND NOT classes_link.waits
JOIN users_lookup AS users_link ON users_link.source_key = new.user_source_key AND NOT users_link.waits;

CREATE TABLE enrollments_dangling AS
SELECT new.class_source_key, new.user_source_key, file, line,
    coalesce(new.class_source_key IN (SELECT source_key FROM classes_unplanned), false)
        OR coalesce(new.user_source_key IN (SELECT source_key FROM users_unplanned), false) AS waits
FROM enrollments_accepted AS new
LEFT JOIN classes_lookup AS classes_link ON classes_link.source_key = new.class_source_key AND NOT classes_link.waits
LEFT JOIN users_lookup AS users_link ON users_link.source_key = new.user_source_key AND NOT users_link.waits
WHERE NOT ((class_source_key IS NULL OR classes_link.key IS NOT NULL)
    AND (user_source_key IS NULL OR users_link.key IS NOT NULL));

CREATE TABLE enrollments_compared AS
SELECT class_key, user_key, new.said IS NOT NULL AS said
FROM (
    SELECT class_key, user_key, hash(coalesce(try_cast(is_primary AS BOOLEAN), false), role) AS means, true AS said
    FROM enrollments_resolved
) AS new
FULL JOIN (
    SELECT class_key, user_key,
        CASE
            WHEN status = 'active' AND source = getvariable('source')
            THEN hash(is_primary, role)
        END AS means
    FROM stored_enrollments
) AS old USING (class_key, user_key)
WHERE new.means IS DISTINCT FROM old.means;

CREATE TABLE enrollments_unplanned_pairs AS
WITH unplanned AS (
    SELECT class_source_key, user_source_key FROM enrollments_aside
    UNION
    SELECT class_source_key, user_source_key FROM enrollments_dangling
)
SELECT classes.key AS class_key, users.key AS user_key
FROM unplanned
JOIN classes_lookup_with_history AS classes ON classes.source_key = unplanned.class_source_key
JOIN users_lookup_with_history AS users ON users.source_key = unplanned.user_source_key;

CREATE TABLE enrollments_departures AS
SELECT class_key, user_key, bool_or(explicit) AS explicit, any_value(file) AS file, any_value(line) AS line,
    coalesce(max(reason) FILTER (explicit), max(reason)) AS reason
FROM (
SELECT old.class_key, old.user_key, true AS explicit, removal.file, removal.line, 'the batch removes it' AS reason
FROM enrollments_removals AS removal
JOIN classes_lookup ON classes_lookup.source_key = removal.class_source_key
JOIN users_lookup ON users_lookup.source_key = removal.user_source_key
JOIN db_enrollments AS old ON old.class_key = classes_lookup.key AND old.user_key = users_lookup.key
WHERE old.status = 'active' AND old.source = getvariable('source') UNION ALL
SELECT old.class_key, old.user_key, gone.explicit, gone.file, gone.line, gone.reason
FROM classes_departures AS gone
JOIN db_enrollments AS old USING (class_key)
WHERE old.status = 'active' AND gone.explicit UNION ALL
SELECT old.class_key, old.user_key, gone.explicit, gone.file, gone.line, gone.reason
FROM users_departures AS gone
JOIN db_enrollments AS old USING (user_key)
WHERE old.status = 'active' AND gone.explicit UNION ALL
(
    WITH enrollments_mentioned AS (
    SELECT class_key, user_key
    FROM enrollments_unplanned_pairs
    UNION ALL
    SELECT class_key, user_key
    FROM db_enrollments
    WHERE class_key IN (
        SELECT class_key FROM classes_doubtful
        UNION ALL
        SELECT old_key FROM classes_held
        UNION ALL
        SELECT key FROM classes_renamed_alone
    )
    UNION ALL
    SELECT class_key, user_key
    FROM db_enrollments
    WHERE user_key IN (
        SELECT user_key FROM users_doubtful
        UNION ALL
        SELECT old_key FROM users_held
        UNION ALL
        SELECT key FROM users_renamed_alone
    )
    UNION ALL
    SELECT class_key, user_key
    FROM enrollments_doubtful)
    SELECT old.class_key, old.user_key, false AS explicit, NULL AS file, NULL::BIGINT AS line,
        'the batch no longer has it' AS reason
    FROM (FROM db_enrollments SEMI JOIN (FROM enrollments_compared WHERE NOT said) USING (class_key, user_key)) AS old
    WHERE old.status = 'active'
        AND old.source = getvariable('source')
        AND (NOT EXISTS (FROM enrollments_mentioned AS mentioned WHERE mentioned.class_key = old.class_key AND mentioned.user_key = old.user_key)
            OR old.class_key IN (SELECT class_key FROM classes_departures)
            OR old.user_key IN (SELECT user_key FROM users_departures))
        AND old.class_key NOT IN (
        SELECT class_key
        FROM db_classes
        WHERE term IS NOT NULL
            AND (
                NOT coalesce(list_has_all(
                    (
                        SELECT list(DISTINCT own)
                        FROM (SELECT unnest(string_split(term, '; ')) AS own FROM (SELECT term FROM read_parquet('canonical/classes.parquet')))
                    ),
                    string_split(term, '; ')
                ), false)
                OR term_end < '2026-11-01'
            )
    )
))
GROUP BY ALL;

CREATE TABLE enrollments_changes AS
WITH images AS (
    SELECT class_key, user_key,
        CASE WHEN list_contains(new.kept, 'role') AND new.role IS NULL
            THEN CASE WHEN old.status <> 'removed' THEN old.role END
            ELSE new.role END AS role,
        coalesce(CASE WHEN list_contains(new.kept, 'is_primary') AND new.is_primary IS NULL
            THEN CASE WHEN old.status <> 'removed' THEN old.is_primary END
            ELSE try_cast(new.is_primary AS BOOLEAN) END, false) AS is_primary,
        'active' AS status,
        getvariable('source') AS source,
        new.file, new.line, old
    FROM (FROM enrollments_resolved SEMI JOIN enrollments_compared USING (class_key, user_key)) AS new
    LEFT JOIN (FROM stored_enrollments SEMI JOIN enrollments_compared USING (class_key, user_key)) AS old USING (class_key, user_key)
)
SELECT CASE
        WHEN old.status IS NULL THEN 'create'
        WHEN old.status = 'active' AND images.status = 'inactive' THEN 'deactivate'
        WHEN old.status = 'removed' OR old.status = 'inactive' AND images.status = 'active' THEN 'reactivate'
        ELSE 'update'
    END AS operation, file, line, NULL::VARCHAR AS reason,
    false AS explicit,
    class_key, user_key, role, is_primary, status, source
FROM images
WHERE (
        old.status IS NULL
        OR old.role IS DISTINCT FROM role
        OR old.is_primary IS DISTINCT FROM is_primary
        OR old.status IS DISTINCT FROM status
        OR old.source IS DISTINCT FROM source
    )
    AND (
        getvariable('source') = getvariable('primary_source')
        OR coalesce(CASE WHEN old.status <> 'removed' THEN old.source END = getvariable('source'), true)
    );

CREATE TABLE enrollments_deactivations AS
SELECT 'deactivate' AS operation, gone.file, gone.line, gone.reason, gone.explicit,
    old.* REPLACE ('inactive' AS status)
FROM enrollments_departures AS gone
JOIN db_enrollments AS old USING (class_key, user_key);

CREATE TABLE enrollments_after AS
FROM enrollments_changes
UNION ALL BY NAME
FROM enrollments_deactivations;
