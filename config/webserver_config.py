"""Who logs in under FAB's auth manager: people with a password here or, where OIDC_ISSUER is set, a provider's people.

Their groups at the provider say what they may do: `lincoln:editor` is that role, OIDC_ADMIN_GROUP administers
everything, and whoever is in none of these groups sees nothing. Roles are set anew at each login.
"""

from __future__ import annotations

import os

from flask_appbuilder.const import AUTH_DB, AUTH_OAUTH

from enrollsync.airflow.roles import roles_by_group

AUTH_TYPE = AUTH_OAUTH if "OIDC_ISSUER" in os.environ else AUTH_DB

if AUTH_TYPE == AUTH_OAUTH:
    AUTH_USER_REGISTRATION = True
    AUTH_USER_REGISTRATION_ROLE = "Public"  # which may do nothing
    AUTH_ROLES_SYNC_AT_LOGIN = True
    AUTH_ROLES_MAPPING = roles_by_group(os.environ.get("OIDC_ADMIN_GROUP"))
    OAUTH_PROVIDERS = [
        {
            "name": "oidc",
            "icon": "fa-sign-in",
            "token_key": "access_token",
            "remote_app": {
                "client_id": os.environ["OIDC_CLIENT_ID"],
                "client_secret": os.environ["OIDC_CLIENT_SECRET"],
                "server_metadata_url": f"{os.environ['OIDC_ISSUER'].rstrip('/')}/.well-known/openid-configuration",
                "client_kwargs": {"scope": os.environ.get("OIDC_SCOPE", "openid profile email groups")},
            },
        }
    ]
