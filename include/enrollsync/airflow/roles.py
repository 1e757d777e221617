"""Roles per district for Airflow's FAB auth manager, where rights per DAG exist: viewer, approver and editor of each.

FAB keeps the right to *look at* or *edit* a DAG for each DAG, and so the right to start its runs; the rights on what
belongs to a DAG (tasks, logs, questions to a person) it keeps once for all DAGs, and they count only together with the
first. What has no DAG at all (pools, assets, connections, variables, jobs, import errors, the log of who did what)
would tell of every district, so none of these roles may see it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, get_args

from airflow.providers.fab.auth_manager.models import Action, Permission, Resource, Role
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollsync.airflow.districts import read_districts
from enrollsync.words.errors import ConfigurationError

Part = Literal["viewer", "approver", "editor"]
Right = tuple[str, str]
"""What FAB calls an action, and a resource."""
_LONGEST_NAME = 64
"""Of a role, in FAB's database."""
_LOOK: frozenset[Right] = frozenset(
    {
        *(("can_read", name) for name in ("DAG Runs", "DAG Versions", "DAG Dependencies", "Task Instances")),
        *(("can_read", name) for name in ("Task Logs", "XComs", "HITL Detail", "Website")),
        ("can_read", "Plugins"),  # or *Roster* is not in the navigation
        *(("menu_access", name) for name in ("DAGs", "HITL Detail")),
        *((action, name) for action in ("can_read", "can_edit") for name in ("My Profile", "My Password")),
    }
)
_ANSWER: Right = ("can_edit", "HITL Detail")
_CLEAR: frozenset[Right] = frozenset({("can_edit", "DAG Runs"), ("can_edit", "Task Instances")})


def role_name(district_id: str, part: Part) -> str:
    """The role's name in FAB: `lincoln:viewer`."""
    return f"{district_id}:{part}"


def rights_of(district_id: str, part: Part) -> set[Right]:
    """What the role may do.

    A *viewer* looks; an *approver* answers plans that wait as well; an *editor* also starts runs, takes them back and
    has tasks run again.
    """
    dags = [f"enrollment_{kind}__{district_id}" for kind in ("sync", "undo")]
    rights = {*_LOOK, *(("can_read", f"DAG:{dag}") for dag in dags)}
    if part != "viewer":
        rights |= {_ANSWER, *(("can_edit", f"DAG:{dag}") for dag in dags)}
    if part == "editor":
        rights |= {*_CLEAR, *(("can_create", f"DAG Run:{dag}") for dag in dags)}
    return rights


def roles_by_group(administrators: str | None) -> dict[str, list[str]]:
    """Group at a provider of single sign-on -> FAB's roles: a district's groups are called like its roles.

    `administrators`: the group that may do everything.
    """
    names = {role_name(one.district_id, part) for one in read_districts()[0].values() for part in get_args(Part)}
    return {name: [name] for name in sorted(names)} | ({administrators: ["Admin"]} if administrators else {})


def make_roles(district_ids: Collection[str]) -> list[str]:
    """Make these districts' roles in Airflow's database, or set them right; returns their names.

    All or none is written. Rights that somebody added to such a role by hand are taken away again; whoever needs more
    gets another role besides. ConfigurationError where an id is too long for a role's name.
    """
    wanted = {role_name(one, part): rights_of(one, part) for one in sorted(district_ids) for part in get_args(Part)}
    if long := [name for name in wanted if len(name) > _LONGEST_NAME]:
        raise ConfigurationError(
            f"`{long[0]}` is too long for the name of a role; choose a `district_id` of at most "
            f"{_LONGEST_NAME - len(':approver')} characters"
        )
    with create_session() as session:
        known = _permissions(session, set().union(*wanted.values()))
        there = {role.name: role for role in session.scalars(select(Role).where(Role.name.in_(wanted))).unique()}
        for name, rights in wanted.items():
            role = there.get(name) or Role(name=name)
            role.permissions = [known[right] for right in sorted(rights)]
            session.add(role)
    return list(wanted)


def _permissions(session: Session, rights: Iterable[Right]) -> dict[Right, Permission]:
    """FAB's rows for these rights; those that are missing are added."""
    actions = {action.name: action for action in session.scalars(select(Action))}
    resources = {resource.name: resource for resource in session.scalars(select(Resource))}
    there = {(one.action.name, one.resource.name): one for one in session.scalars(select(Permission)).unique()}
    for action, resource in sorted(set(rights) - there.keys()):
        actions.setdefault(action, Action(name=action))
        resources.setdefault(resource, Resource(name=resource))
        there[action, resource] = Permission(action=actions[action], resource=resources[resource])
        session.add(there[action, resource])
    return there
