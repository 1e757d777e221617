"""The synthetic district as a Clever set of CSV files.

How it is spelt there, and on which line a person stands. What is planted in it is declared in `faults.py`.
The passwords are filler: they show that nothing ever copies that column.
"""

from __future__ import annotations

from enrollsync.sample.csv_file import CsvFile

PASSWORD = "not-a-real-password"

ENTRIES = """
    CREATE TABLE student_entries AS
    WITH contacts AS (
      SELECT person, 0 AS ordinal
      FROM students
      UNION ALL
      SELECT person, 1
      FROM students
      WHERE choice('second contact', person, 50) = 0
    )
    SELECT person, ordinal, 1 + row_number() OVER (ORDER BY person, ordinal) AS line
    FROM contacts
"""
"""Some students have a second row that differs in the contact alone."""

PERSON_LINES = """
    CREATE VIEW person_lines AS
    SELECT 'students.csv' AS file, person, ordinal, line, NULL AS class
    FROM student_entries
    UNION ALL
    SELECT 'enrollments.csv', person, ordinal, 2 + person * 6 + ordinal, class
    FROM enrollments
"""
PLANTABLE = """
    CREATE VIEW plantable AS
    FROM people
    WHERE person NOT IN (SELECT person FROM student_entries WHERE ordinal = 1)
      AND person < student_count() - 1
"""
"""Students with one row. The last one keeps an unclosed quotation from standing at the end of a file."""


def _date(expression: str) -> str:
    return f"strftime({expression}, '%-m/%-d/%Y')"


def _login() -> str:
    return "split_part(person.email, '@', 1)"


_SCHOOL_ID = {"School_id": "school.school_id"}
_PEOPLE = """
            JOIN schools AS school ON school.school = person.school"""

FILES = (
    CsvFile(
        "schools.csv",
        """(SELECT *, 2 + school AS line FROM schools) AS entry
            JOIN schools AS school ON school.school = entry.school
            JOIN people AS principal ON principal.school = entry.school AND principal.title = 'Principal'""",
        {
            **_SCHOOL_ID,
            "School_name": "school.name",
            "School_number": "CAST(school.school + 1 AS VARCHAR)",
            "State_id": "'48' || school.school_id",
            "Low_grade": "CASE school.low_grade WHEN 0 THEN 'Kindergarten' ELSE CAST(school.low_grade AS VARCHAR) END",
            "High_grade": "CAST(school.high_grade AS VARCHAR)",
            "Principal": "principal.given || ' ' || principal.family",
            "Principal_email": "principal.email",
            "School_city": "'Demo'",
            "School_state": "'TX'",
        },
    ),
    CsvFile(
        "students.csv",
        f"""student_entries AS entry
            JOIN people AS person ON person.person = entry.person{_PEOPLE}
            JOIN streets ON streets.number = choice('street', entry.person, streets_count())
            JOIN languages ON languages.number = choice('language', entry.person, languages_count())
            JOIN given_names AS contact
              ON contact.number = choice('contact', entry.person * 2 + entry.ordinal, given_names_count())""",
        {
            **_SCHOOL_ID,
            "Student_id": "person.id",
            "Student_number": "person.district_id",
            "State_id": "person.state_id",
            "Last_name": "person.family",
            "Middle_name": "person.middle",
            "First_name": "person.given",
            "Grade": "CASE person.grade WHEN 0 THEN 'Kindergarten' ELSE CAST(person.grade AS VARCHAR) END",
            "Gender": "['F', 'M', 'F', 'M', 'X'][1 + choice('gender', entry.person, 5)]",
            "DOB": _date("person.birth_date"),
            "Home_language": "languages.name",
            "Ell_status": "['Y', 'N', 'N', 'N'][1 + choice('ell', entry.person, 4)]",
            "IEP_status": "['Y', 'N', 'N', 'N', 'N', 'N', 'N'][1 + choice('iep', entry.person, 7)]",
            "Student_street": "CAST(1 + choice('house', entry.person, 999) AS VARCHAR) || ' ' || streets.name",
            "Student_city": "'Demo'",
            "Student_state": "'TX'",
            "Student_email": "person.email",
            "Contact_relationship": "['Mother', 'Father'][1 + CAST(entry.ordinal AS INTEGER)]",
            "Contact_type": "'Family'",
            "Contact_name": "contact.name || ' ' || person.family",
            "Contact_phone": "'555-01' || lpad(CAST(choice('phone', entry.person, 100) AS VARCHAR), 2, '0')",
            "Contact_sis_id": "'C' || person.id || CAST(entry.ordinal AS VARCHAR)",
            "Username": _login(),
            "Password": f"'{PASSWORD}'",
        },
    ),
    CsvFile(
        "teachers.csv",
        f"""(SELECT *, 2 + person - student_count() AS line FROM people WHERE role = 'teacher') AS entry
            JOIN people AS person ON person.person = entry.person{_PEOPLE}""",
        {
            **_SCHOOL_ID,
            "Teacher_id": "person.id",
            "Teacher_number": "person.district_id",
            "State_teacher_id": "person.state_id",
            "Teacher_email": "person.email",
            "First_name": "person.given",
            "Middle_name": "person.middle",
            "Last_name": "person.family",
            "Title": "person.title",
            "Username": _login(),
            "Password": f"'{PASSWORD}'",
        },
    ),
    CsvFile(
        "sections.csv",
        """(SELECT *, 2 + class AS line FROM classes) AS entry
            JOIN schools AS school ON school.school = entry.school
            JOIN people AS teacher ON teacher.person = entry.teacher""",
        {
            **_SCHOOL_ID,
            "Section_id": "entry.class_id",
            "Teacher_id": "teacher.id",
            "Teacher_2_id": "NULL",
            "Name": "entry.name",
            "Section_number": "CAST(entry.section AS VARCHAR)",
            "Grade": "CASE entry.grade WHEN 0 THEN 'Kindergarten' ELSE CAST(entry.grade AS VARCHAR) END",
            "Course_name": "entry.course_name",
            "Course_number": "entry.course_code",
            "Period": "CAST(entry.period AS VARCHAR)",
            "Subject": "entry.clever_subject",
            "Term_name": "'2026-27'",
            "Term_start": "'8/17/2026'",
            "Term_end": "'6/11/2027'",
        },
    ),
    CsvFile(
        "enrollments.csv",
        """(SELECT *, 2 + person * 6 + ordinal AS line FROM enrollments) AS entry
            JOIN people AS person ON person.person = entry.person
            JOIN schools AS school ON school.school = person.school
            JOIN classes AS class ON class.class = entry.class""",
        {**_SCHOOL_ID, "Section_id": "class.class_id", "Student_id": "person.id"},
    ),
    CsvFile(
        "staff.csv",
        f"""(
              SELECT person, 1 + row_number() OVER (ORDER BY person) AS line
              FROM people
              WHERE role = 'staff'
            ) AS entry
            JOIN people AS person ON person.person = entry.person{_PEOPLE}""",
        {
            **_SCHOOL_ID,
            "Staff_id": "person.id",
            "Staff_email": "person.email",
            "First_name": "person.given",
            "Last_name": "person.family",
            "Department": "'Administration'",
            "Title": "person.title",
            "Username": _login(),
            "Password": f"'{PASSWORD}'",
            "Role": "CASE person.title WHEN 'Principal' THEN 'School Admin' ELSE 'Staff' END",
        },
    ),
)
