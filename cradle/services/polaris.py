"""Polaris' management API, through its own typed SDK.

Source: Apache Polaris Management Service, OpenAPI 1.7.0.
"""

from __future__ import annotations

import json
from typing import Any

import requests
from apache_polaris.sdk.management import ApiClient, Configuration, PolarisDefaultApi, models
from apache_polaris.sdk.management.exceptions import ApiException
from requests.adapters import HTTPAdapter

from cradle import names
from cradle.catalog.connect import TOKEN_PATH
from cradle.catalog.rest import RETRIES
from cradle.config import Settings
from cradle.errors import Unavailable
from cradle.secrets import ANY, OPERATOR, read_secret
from cradle.services.roles import Grant

ROLE_ARN = "arn:aws:iam::000000000000:role/LakeVended"  # can't be added to a catalog later: set from the first day
SECONDS = 30
MISSING, CONFLICT = 404, 409


def token(settings: Settings, login: dict[str, str]) -> str:
    """Ask for a token.

    Raises:
        Unavailable: Polaris does not answer, or refuses the secret.
    """
    assert settings.catalog_url is not None
    url = settings.catalog_url.rstrip("/") + TOKEN_PATH
    data = {"grant_type": "client_credentials", "scope": "PRINCIPAL_ROLE:ALL"}
    data |= {"client_id": login["client_id"], "client_secret": login["client_secret"]}
    try:
        with requests.Session() as session:
            # Asking for a token changes nothing, so it may be asked again.
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=RETRIES.new(allowed_methods=("POST",))))
            answer = session.post(url, data=data, timeout=SECONDS)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise Unavailable(f"Polaris at {settings.catalog_url} gives no token: {error}. Run `cradle doctor`.") from error
    return str(answer.json()["access_token"])


class Management:
    """What provisioning asks of Polaris; every call is safe to repeat."""

    def __init__(self, settings: Settings) -> None:
        assert settings.catalog_url is not None
        self.settings = settings
        self.host = settings.catalog_url.rstrip("/").removesuffix("/api/catalog") + "/api/management/v1"
        self.api = self._api(token(settings, read_secret(settings, OPERATOR, ANY, "polaris")))

    def _api(self, access: str) -> Any:
        return PolarisDefaultApi(ApiClient(Configuration(host=self.host, access_token=access)))

    def catalog(self, customer: str) -> Any | None:
        """Return a customer's catalog, None when there is none."""
        return _found(self.api.get_catalog, customer)

    def wanted_storage(self, customer: str) -> models.AwsStorageConfigInfo:
        """Return where a customer's tables lie and how keys to them are vended."""
        endpoint = self.settings.s3_endpoint_internal or self.settings.s3_endpoint
        return models.AwsStorageConfigInfo(
            storageType="S3",
            allowedLocations=[location(customer) + "/"],  # must hold the base location itself
            region=self.settings.s3_region,
            endpoint=self.settings.s3_endpoint,
            endpointInternal=endpoint,
            stsEndpoint=endpoint,
            pathStyleAccess=True,
            kmsUnavailable=True,
            roleArn=ROLE_ARN,
            stsUnavailable=self.settings.credentials == "static",
        )

    def create_catalog(self, customer: str) -> None:
        """Make a customer's catalog over its lake bucket."""
        properties = models.CatalogProperties(
            **{"default-base-location": location(customer)},
            additional_properties={"polaris.config.drop-with-purge.enabled": "true"},
        )
        catalog = models.PolarisCatalog(
            type="INTERNAL", name=customer, properties=properties, storageConfigInfo=self.wanted_storage(customer)
        )
        self.api.create_catalog(models.CreateCatalogRequest(catalog=catalog))

    def storage_differs(self, customer: str) -> bool:
        """Tell whether a catalog's storage is another than the settings ask for."""
        have = self.catalog(customer)
        wanted = self.wanted_storage(customer).to_dict()
        return have is not None and any(
            have.storage_config_info.to_dict().get(name) != value for name, value in wanted.items()
        )

    def update_storage(self, customer: str) -> None:
        """Bring a catalog's storage in line with the settings."""
        have = self.catalog(customer)
        assert have is not None
        request = models.UpdateCatalogRequest(
            currentEntityVersion=have.entity_version,
            properties=have.properties.to_dict(),
            storageConfigInfo=self.wanted_storage(customer),
        )
        self.api.update_catalog(customer, request)

    def has_principal(self, name: str) -> bool:
        """Tell whether a principal is there."""
        return _found(self.api.get_principal, name) is not None

    def create_principal(self, name: str) -> dict[str, str]:
        """Make a principal with a role of its name and return its login, which Polaris shows only once."""
        made = self.api.create_principal(
            models.CreatePrincipalRequest(principal=models.Principal(name=name, properties={}))
        )
        return _login(made)

    def reset_principal(self, name: str) -> dict[str, str]:
        """Give a principal a new secret and end the old one."""
        return _login(self.api.reset_credentials(name, models.ResetPrincipalRequest()))

    def rotate_principal(self, name: str, login: dict[str, str]) -> dict[str, str]:
        """Give a principal a new secret; the old one stays valid beside it. Only the principal itself may do so."""
        return _login(self._api(token(self.settings, login)).rotate_credentials(name))

    def ensure_role(self, customer: str, role: str, principal: str) -> bool:
        """Tie principal → principal role → catalog role; return whether anything was new."""
        role_body = models.PrincipalRole(name=principal)
        new = [
            _made(self.api.create_principal_role, models.CreatePrincipalRoleRequest(principalRole=role_body)),
            _made(
                self.api.create_catalog_role,
                customer,
                models.CreateCatalogRoleRequest(catalogRole=models.CatalogRole(name=role)),
            ),
        ]
        _made(self.api.assign_principal_role, principal, models.GrantPrincipalRoleRequest(principalRole=role_body))
        _made(
            self.api.assign_catalog_role_to_principal_role,
            principal,
            customer,
            models.GrantCatalogRoleRequest(catalogRole=models.CatalogRole(name=role)),
        )
        return any(new)

    def grants(self, customer: str, role: str) -> set[Grant]:
        """Return what a catalog role may do; nothing when there is no such role."""
        found = _found(self.api.list_grants_for_catalog_role, customer, role)
        return {_grant_of(one.to_dict()) for one in found.grants} if found else set()

    def add_grant(self, customer: str, role: str, grant: Grant) -> None:
        """Give a catalog role one privilege."""
        self.api.add_grant_to_catalog_role(customer, role, models.AddGrantRequest(grant=_resource(grant)))

    def revoke_grant(self, customer: str, role: str, grant: Grant) -> None:
        """Take one privilege from a catalog role."""
        request = models.RevokeGrantRequest(grant=_resource(grant))
        self.api.revoke_grant_from_catalog_role(customer, role, revoke_grant_request=request)

    def drop_catalog(self, customer: str) -> None:
        """Forget a catalog that holds nothing but its roles any more."""
        for role in self.api.list_catalog_roles(customer).roles:
            if role.name != "catalog_admin":
                self.api.delete_catalog_role(customer, role.name)
        self.api.delete_catalog(customer)

    def drop_principal(self, name: str) -> None:
        """Forget a principal and its role."""
        for call in (self.api.delete_principal, self.api.delete_principal_role):
            _found(call, name)


def location(customer: str) -> str:
    """Return where a customer's tables lie."""
    return f"s3://{names.bucket(customer, 'lake')}/lake"


def message(error: ApiException) -> str:
    """Return what Polaris said, without its headers."""
    try:
        return str(json.loads(error.body)["error"]["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"


def _found(call: Any, *arguments: Any) -> Any | None:
    try:
        return call(*arguments)
    except ApiException as error:
        if error.status == MISSING:
            return None
        raise


def _made(call: Any, *arguments: Any) -> bool:
    try:
        call(*arguments)
    except ApiException as error:
        if error.status == CONFLICT:
            return False
        raise
    return True


def _login(made: Any) -> dict[str, str]:
    # The SDK wraps the secret so that it is not printed by accident.
    secret = made.credentials.client_secret
    plain = secret.get_secret_value() if hasattr(secret, "get_secret_value") else secret
    return {"client_id": made.credentials.client_id, "client_secret": plain}


def _resource(grant: Grant) -> Any:
    if grant.table:
        kind = models.TablePrivilege(grant.privilege)
        return models.TableGrant(type="table", namespace=list(grant.namespace), tableName=grant.table, privilege=kind)
    if grant.namespace:
        privilege = models.NamespacePrivilege(grant.privilege)
        return models.NamespaceGrant(type="namespace", namespace=list(grant.namespace), privilege=privilege)
    return models.CatalogGrant(type="catalog", privilege=models.CatalogPrivilege(grant.privilege))


def _grant_of(content: dict[str, Any]) -> Grant:
    privilege = content["privilege"]
    name = getattr(privilege, "value", privilege)
    return Grant(name, tuple(content.get("namespace") or ()), content.get("tableName") or "")
