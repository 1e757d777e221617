"""The synthetic district itself as DuckDB tables: schools, people and classes, whatever the format.

Everything follows from the number of students and the seed by arithmetic and hashes, set-wise, so that a million
students take seconds and the number of threads changes nothing. How a file spells it belongs to the format's module.

People are numbered from 0: first the students, school by school and grade by grade, then the teachers, then the staff.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from enrollsync.sample import names

SUBJECTS = 6
"""Classes of a student; also the periods of a day."""
STUDENTS_PER_SCHOOL = 600
STUDENTS_PER_CLASS = 25
STUDENTS_PER_TEACHER = 18
SCHOOL_YEAR = 2026
"""The year in which the school year starts."""


@dataclass(frozen=True)
class Level:
    """A kind of school and what is taught there."""

    name: str
    low_grade: int
    """0 is Kindergarten."""
    high_grade: int
    subjects: tuple[tuple[str, str, str], ...]
    """Name, code and Clever's subject of each of the classes of a day."""

    @property
    def grades(self) -> int:
        """How many grades such a school has."""
        return self.high_grade - self.low_grade + 1


LEVELS = (
    Level("Elementary", 0, 5, (
        ("Math", "MATH", "math"),
        ("Reading", "READ", "english/language arts"),
        ("Science", "SCI", "science"),
        ("Social Studies", "SOC", "social studies"),
        ("Art", "ART", "arts and music"),
        ("Physical Education", "PE", "PE and health"),
    )),
    Level("Middle", 6, 8, (
        ("Math", "MATH", "math"),
        ("English", "ENG", "english/language arts"),
        ("Science", "SCI", "science"),
        ("History", "HIST", "social studies"),
        ("Music", "MUS", "arts and music"),
        ("Health", "HLTH", "PE and health"),
    )),
    Level("High", 9, 12, (
        ("Math", "MATH", "math"),
        ("English", "ENG", "english/language arts"),
        ("Science", "SCI", "science"),
        ("History", "HIST", "social studies"),
        ("Spanish", "SPAN", "language"),
        ("Physical Education", "PE", "PE and health"),
    )),
)  # fmt: skip
ALL_GRADES = sum(level.grades for level in LEVELS)


def build_district(connection: duckdb.DuckDBPyConnection, students: int, seed: int) -> None:
    """Create the tables `schools, people, classes` and the view `enrollments` for that many students."""
    connection.execute("SET VARIABLE seed = $seed", {"seed": seed})
    for macro in (*_MACROS, f"CREATE MACRO student_count() AS {students:d}::BIGINT"):
        connection.execute(macro)
    _create_words(connection)
    _create_levels(connection, students)
    for statement in (
        _schools(),
        _cohorts(),
        _teachers(),
        _classes(),
        _students(),
        _employees(),
        _people(),
        _named_classes(),
        _enrollments(),
    ):
        connection.execute(statement)


def clean_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Entity -> distinct records that the clean sample holds; everybody belongs to one school."""
    counted = connection.execute(
        """
        SELECT
          (SELECT count(*) FROM schools),
          (SELECT count(*) FROM people),
          (SELECT count(*) FROM people),
          (SELECT count(*) FROM classes),
          (SELECT count(*) FROM enrollments) + (SELECT count(*) FROM classes)
        """
    ).fetchall()[0]
    return dict(zip(("organizations", "users", "memberships", "classes", "enrollments"), counted, strict=True))


# `choice` is the only source of variety: the same number for the same seed, topic and item, on every run.
_MACROS = (
    "CREATE MACRO choice(topic, item, size) AS"
    " CAST(hash(getvariable('seed')::BIGINT, topic, item::BIGINT) % size::UBIGINT AS INTEGER)",
    # Factors without 2 and 5 in them map 0, 1, 2, ... one to one onto the numbers of that many digits.
    "CREATE MACRO digits(topic, item, factor, width) AS lpad(CAST("
    "(item::BIGINT * factor + choice(topic, 0, 1000000)) % CAST(10 ** width AS BIGINT) AS VARCHAR), width, '0')",
    "CREATE MACRO folded(name) AS"
    " regexp_replace(lower(strip_accents(translate(name, 'łŁøØđĐı', 'lLoOdDi'))), '[^a-z]', '', 'g')",
    "CREATE MACRO grade_name(grade) AS CASE grade WHEN 0 THEN 'K' ELSE CAST(grade AS VARCHAR) END",
)


def _create_words(connection: duckdb.DuckDBPyConnection) -> None:
    """One table (number, name) for each list of `names.py`, and a macro `<table>_count()`."""
    lists = {
        "given_names": names.GIVEN,
        "family_names": names.FAMILY,
        "school_first": names.SCHOOL_FIRST,
        "school_second": names.SCHOOL_SECOND,
        "streets": names.STREETS,
        "languages": names.LANGUAGES,
        "staff_titles": names.STAFF_TITLES,
    }
    for table, words in lists.items():
        connection.execute(f"CREATE TABLE {table} (number INTEGER, name VARCHAR)")
        connection.execute(
            f"INSERT INTO {table} SELECT unnest(range(len($words))), unnest($words)", {"words": list(words)}
        )
        connection.execute(f"CREATE MACRO {table}_count() AS {len(words)}")


def _create_levels(connection: duckdb.DuckDBPyConnection, students: int) -> None:
    """Share the students out over the grades; `first_student` and `first_school` are where a level's numbers start."""
    connection.execute(
        "CREATE TABLE levels (level VARCHAR, low_grade INTEGER, high_grade INTEGER, first_student BIGINT,"
        " students BIGINT, first_school BIGINT, schools BIGINT)"
    )
    connection.execute(
        "CREATE TABLE subjects (level VARCHAR, subject INTEGER, name VARCHAR, code VARCHAR, clever_name VARCHAR)"
    )
    grades, first_student, first_school = 0, 0, 0
    for level in LEVELS:
        grades += level.grades
        count = students * grades // ALL_GRADES - first_student
        schools = max(1, round(count / STUDENTS_PER_SCHOOL))
        connection.execute(
            "INSERT INTO levels VALUES (?, ?, ?, ?, ?, ?, ?)",
            [level.name, level.low_grade, level.high_grade, first_student, count, first_school, schools],
        )
        connection.executemany(
            "INSERT INTO subjects VALUES (?, ?, ?, ?, ?)",
            [[level.name, number, *subject] for number, subject in enumerate(level.subjects)],
        )
        first_student += count
        first_school += schools


def _schools() -> str:
    return """
        CREATE TABLE schools AS
        WITH starts AS (
          SELECT
            *,
            first_school + step AS school,
            first_student + students * step // schools
              + CASE step WHEN 0 THEN 0 ELSE choice('size', first_school + step, 101) - 50 END AS start
          FROM levels, LATERAL unnest(range(schools)) AS steps(step)
        ),
        named AS (
          SELECT
            *,
            lead(start, 1, student_count()) OVER (ORDER BY school) - start AS size,
            (school * 1597 + choice('school', 0, 1000)) % (school_first_count() * school_second_count()) AS number
          FROM starts
        )
        SELECT
          school,
          lpad(CAST(school + 1 AS VARCHAR), 4, '0') AS school_id,
          school_first.name || ' ' || school_second.name || ' ' || level || ' School' AS name,
          level,
          low_grade,
          high_grade,
          start AS first_student,
          size
        FROM named
        JOIN school_first ON school_first.number = named.number // school_second_count()
        JOIN school_second ON school_second.number = named.number % school_second_count()
    """


def _cohorts() -> str:
    """Students of a grade who have the whole day in common, so that nobody has two classes in one period."""
    return f"""
        CREATE TABLE cohorts AS
        WITH grades AS (
          SELECT
            school,
            level,
            low_grade + step AS grade,
            first_student + size * step // (high_grade - low_grade + 1) AS first_student,
            first_student + size * (step + 1) // (high_grade - low_grade + 1) AS end_student
          FROM schools, LATERAL unnest(range(high_grade - low_grade + 1)) AS steps(step)
        ),
        sized AS (
          SELECT
            *,
            end_student - first_student AS size,
            CAST(ceil((end_student - first_student) / {STUDENTS_PER_CLASS}) AS BIGINT) AS parts
          FROM grades
        )
        SELECT
          row_number() OVER (ORDER BY first_student + size * part // parts) - 1 AS cohort,
          school,
          level,
          grade,
          part,
          first_student + size * part // parts AS first_student,
          first_student + size * (part + 1) // parts AS end_student
        FROM sized, LATERAL unnest(range(parts)) AS all_parts(part)
    """


def _teachers() -> str:
    """How many teachers each school has; a school without students has none."""
    return f"""
        CREATE TABLE faculties AS
        WITH sized AS (
          SELECT
            school,
            CASE WHEN size = 0 THEN 0 ELSE greatest(1, CAST(round(size / {STUDENTS_PER_TEACHER}) AS BIGINT)) END
              AS teachers
          FROM schools
        )
        SELECT
          school,
          teachers,
          CAST(student_count() + sum(teachers) OVER (ORDER BY school) - teachers AS BIGINT) AS first_teacher
        FROM sized
    """


def _classes() -> str:
    """A teacher gets classes that are neighbours: one subject in several periods, or one elementary cohort's day."""
    return f"""
        CREATE TABLE unnamed_classes AS
        WITH ranked AS (
          SELECT
            cohorts.*,
            subjects.subject,
            row_number() OVER (
              PARTITION BY school
              ORDER BY CASE level WHEN 'Elementary' THEN cohort ELSE 0 END, subject, cohort
            ) - 1 AS rank,
            count(*) OVER (PARTITION BY school) AS classes
          FROM cohorts
          JOIN subjects USING (level)
        )
        SELECT
          cohort * {SUBJECTS} + subject AS class,
          school,
          level,
          grade,
          part,
          subject,
          1 + (subject + cohort) % {SUBJECTS} AS period,
          CAST(first_teacher + rank * teachers // classes AS BIGINT) AS teacher
        FROM ranked
        JOIN faculties USING (school)
    """


def _students() -> str:
    """Same name and grade: each gets another day of the year, so that no two share full name and birth date."""
    return f"""
        CREATE TABLE students AS
        WITH chosen AS (
          SELECT
            person,
            cohort,
            school,
            grade,
            choice('given', person, given_names_count()) AS given_number,
            choice('family', person, family_names_count()) AS family_number
          FROM cohorts, LATERAL unnest(range(first_student, end_student)) AS members(person)
        ),
        namesakes AS (
          SELECT
            *,
            row_number() OVER (PARTITION BY given_number, family_number, grade ORDER BY person) AS nth
          FROM chosen
        )
        SELECT
          person,
          'student' AS role,
          school,
          cohort,
          CASE choice('letter', person // 10, 10) WHEN person % 10 THEN 'S' ELSE '' END
            || digits('id', person, 6180339, 7) AS id,
          digits('district', person, 38196601, 8) AS district_id,
          digits('state', person, 6180339887, 10) AS state_id,
          given_number,
          CASE WHEN choice('has middle', person, 10) < 4 THEN choice('middle', person, given_names_count()) END
            AS middle_number,
          family_number,
          grade,
          make_date({SCHOOL_YEAR - 6} - grade, 9, 1)
            + (choice('birthday', (given_number * 1000 + family_number) * 100 + grade, 365) + nth::INTEGER * 97) % 365
            AS birth_date,
          NULL AS title,
          CAST(person + 1 AS VARCHAR) || '@students.demo.example' AS email_end
        FROM namesakes
    """


def _employees() -> str:
    """Teachers of one school have different family names, because class names are told apart by them."""
    return f"""
        CREATE TABLE employees AS
        WITH hired AS (
          SELECT
            unnest(range(first_teacher, first_teacher + teachers)) AS person,
            'teacher' AS role,
            school,
            'Teacher' AS title
          FROM faculties
          UNION ALL
          SELECT
            student_count() + (SELECT CAST(sum(teachers) AS BIGINT) FROM faculties)
              + school * staff_titles_count() + staff_titles.number,
            'staff',
            school,
            staff_titles.name
          FROM schools, staff_titles
        ),
        counted AS (
          SELECT *, person - student_count() AS number
          FROM hired
        )
        SELECT
          person,
          role,
          school,
          NULL AS cohort,
          digits('employee', number, 618033, 6) AS id,
          'E' || digits('employee district', number, 618033, 6) AS district_id,
          'T' || digits('employee state', number, 38196601, 8) AS state_id,
          choice('employee given', number, given_names_count()) AS given_number,
          NULL AS middle_number,
          (choice('faculty', school, family_names_count()) + number * {_FAMILY_STEP}) % family_names_count()
            AS family_number,
          NULL AS grade,
          NULL AS birth_date,
          title,
          CAST(number + 1 AS VARCHAR) || '@demo.example' AS email_end
        FROM counted
    """


_FAMILY_STEP = 67
"""No divisor of the number of family names, so that a school runs through all of them before one comes back."""


def _people() -> str:
    return """
        CREATE TABLE people AS
        WITH everybody AS (
          FROM students
          UNION ALL
          FROM employees
        )
        SELECT
          person,
          role,
          school,
          cohort,
          id,
          district_id,
          state_id,
          given.name AS given,
          coalesce(middle.name, '') AS middle,
          family.name AS family,
          given.folded || '.' || family.folded || email_end AS email,
          grade,
          birth_date,
          title
        FROM everybody
        JOIN (SELECT *, folded(name) AS folded FROM given_names) AS given ON given.number = given_number
        JOIN (SELECT *, folded(name) AS folded FROM family_names) AS family ON family.number = family_number
        LEFT JOIN given_names AS middle ON middle.number = middle_number
    """


def _named_classes() -> str:
    """Identifiers that a person can remember, like `0012MATH5P2S1`: school, course, period, section."""
    return """
        CREATE TABLE classes AS
        SELECT
          class,
          unnamed_classes.school,
          teacher,
          unnamed_classes.grade,
          period,
          part + 1 AS section,
          school_id || code || grade_name(unnamed_classes.grade) || 'P' || period || 'S' || (part + 1) AS class_id,
          subjects.name || ' ' || grade_name(unnamed_classes.grade) || ' - ' || family || ' P' || period AS name,
          subjects.name || ' ' || grade_name(unnamed_classes.grade) AS course_name,
          code || grade_name(unnamed_classes.grade) AS course_code,
          clever_name AS clever_subject
        FROM unnamed_classes
        JOIN subjects USING (level, subject)
        JOIN schools USING (school)
        JOIN people ON people.person = teacher
    """


def _enrollments() -> str:
    """One row for each student's class; `ordinal` counts them from 0 for each student."""
    return f"""
        CREATE VIEW enrollments AS
        SELECT person, ordinal, cohort * {SUBJECTS} + ordinal AS class
        FROM students, LATERAL unnest(range({SUBJECTS})) AS ordinals(ordinal)
    """
