"""The synthetic district as a Batch Upload: one `users.csv`, a line for each person in each class.

How it is spelt there, and on which line a person stands. What is planted in it is declared in `faults.py`.
"""

from __future__ import annotations

from enrollsync.sample.csv_file import CsvFile

ENTRIES = """
    CREATE VIEW user_entries AS
    WITH sizes AS (
      SELECT
        (SELECT count(*) FROM enrollments) AS enrollments,
        (SELECT count(*) FROM classes) AS classes,
        (SELECT min(person) FROM people WHERE role = 'staff') AS first_staff
    )
    SELECT 2 + person * 6 + ordinal AS line, person, ordinal, class
    FROM enrollments
    UNION ALL
    SELECT 2 + enrollments + class, teacher, row_number() OVER (PARTITION BY teacher ORDER BY class) - 1, class
    FROM classes, sizes
    UNION ALL
    SELECT 2 + enrollments + classes + person - first_staff, person, 0, NULL
    FROM people, sizes
    WHERE role = 'staff'
"""
"""Students, then teachers, then staff; a staff member has one line and no class."""

PERSON_LINES = """
    CREATE VIEW person_lines AS
    SELECT 'users.csv' AS file, person, ordinal, line, class
    FROM user_entries
"""
PLANTABLE = """
    CREATE VIEW plantable AS
    FROM people
"""

FILES = (
    CsvFile(
        "users.csv",
        """user_entries AS entry
            JOIN people AS person ON person.person = entry.person
            JOIN schools AS school ON school.school = person.school
            LEFT JOIN classes AS class ON class.class = entry.class""",
        {
            "action": "NULL",
            "schoolId": "school.school_id",
            "schoolName": "school.name",
            "classId": "class.class_id",
            "className": "class.name",
            "classGrade": "grade_name(class.grade)",
            "userId": "person.id",
            "userDistrictId": "person.district_id",
            "userStateId": "person.state_id",
            "userRole": "person.role",
            "userFirstName": "person.given",
            "userMiddleName": "person.middle",
            "userLastName": "person.family",
            "userEmail": "person.email",
            "userGrade": "grade_name(person.grade)",
            "userBirthDate": "strftime(person.birth_date, '%Y-%m-%d')",
            "primaryTeacher": "CASE person.role WHEN 'teacher' THEN 'Y' END",
        },
    ),
)
