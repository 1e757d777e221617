"""Addresses of a database with a password that nobody may see again, most of them only nearly right."""

from __future__ import annotations

SECRET = "Gehe1mn1s"

MALFORMED = (
    f"postgresql://u:{SECRET}",
    f"postgresql://u:{SECRET}@",
    f"postgresql://u:{SECRET}@h",
    f"postgresql://u:{SECRET}@h/",
    f"postgresql://u:p@{SECRET}@h/d",
    f"postgresql://u:p/{SECRET}@h/d",
    f"postgresql://u:p?{SECRET}@h/d",
    f"postgresql://u:p#{SECRET}@h/d",
    f"postgresql://u:p%{SECRET}@h/d",
    f"postgresql://u:p[{SECRET}@h/d",
    f"postgresql://u:p {SECRET}@h/d",
    f"postgresql://u:p\t{SECRET}@h/d",
    f"postgresql://u:p\x1b[31m{SECRET}@h/d",
    f"postgresql://u:{SECRET}@h:{SECRET}/d",
    f"postgresql://u:{SECRET}@h:99999/d",
    f"postgresql://u:{SECRET}@h/d/{SECRET}",
    f"postgresql://u:{SECRET}@h/d?{SECRET}",
    f"postgresql://u:{SECRET}@h/d?passwrod={SECRET}",
    f"postgresql://u@h/d?password={SECRET}&password={SECRET}",
    f"postgresql://u@h/d?sslmode=require;password={SECRET}#{SECRET}",
    f"postgresql://u:{SECRET}@h/d?host={SECRET}@x",
    f"postgresql://[u:{SECRET}@h]/d",
    f"postgresql:/u:{SECRET}@h/d",
    f"postgresql:u:{SECRET}@h/d",
    f"postgres://u:{SECRET}@h/d",
    f"Postgresql://u:{SECRET}@h/d",
    f" postgresql://u:{SECRET}@h/d",
    f"{SECRET}://u@h/d",
    f"u:{SECRET}@h/d",
    f"host=h user=u password={SECRET}",
    SECRET,
    f"mysql://u:{SECRET}@h/d",
    f"sqlite://u:{SECRET}@h/d",
    f"sqlite:///u:{SECRET}@h/d",
    f"sqlite:///data/d.db?key={SECRET}",
    f"sqlite:{SECRET}",
)
WITH_A_PASSWORD = (
    f"postgresql://u:{SECRET}@h/d",
    f"postgresql://u:%47ehe1mn1s%20{SECRET}@h/d",
    f"postgresql://u@h/d?password={SECRET}",
    f"postgresql://u@h/d?sslmode=require&sslpassword={SECRET}",
)
"""Right, but for no file."""
