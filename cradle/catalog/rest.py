"""An Iceberg REST catalog whose commits all go through `transactions/commit`.

One call changes several tables, all or none, and it is the safer path for one table too: when the database's answer
to a commit is lost, Polaris 1.7.0 deletes the metadata file that the table now points to on the one-table path, and
not on this one. Source: Iceberg REST specification, `POST /v1/{prefix}/transactions/commit`.
"""

from __future__ import annotations

import json
import time
from typing import Any

from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.rest.auth import OAuth2AuthManager, OAuth2TokenProvider
from pyiceberg.catalog.rest.response import _handle_non_200_response
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.io import FileIO
from pyiceberg.table import CommitTableRequest, CommitTableResponse, Namespace, Table, TableIdentifier
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.typedef import EMPTY_DICT, Properties
from requests import ConnectionError as RequestsConnectionError
from requests import HTTPError, Session
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cradle.points import point

S3_ENDPOINT = "cradle.s3-endpoint"
CLIENT_ERROR, SERVER_ERROR, CONFLICT = 400, 500, 409
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)  # seconds between tries to get a token
SECONDS = (10, 120)  # to connect, to answer
# Reads only: after a restart of its database the server answers 500 or 503 for a while. A commit is never sent twice.
RETRIES = Retry(
    total=6,
    backoff_factor=0.3,
    status_forcelist=(500, 502, 503, 504),
    allowed_methods=("GET", "HEAD"),
    raise_on_status=False,
)

Change = tuple[Table, tuple[TableRequirement, ...], tuple[TableUpdate, ...]]


class _Adapter(HTTPAdapter):
    def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        options["timeout"] = options.get("timeout") or SECONDS
        return super().send(request, **options)


class PatientAuth(OAuth2AuthManager):
    """OAuth2 as RFC 6749 has it, with patience: after a restart of its database Polaris answers 500 for a while."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.token_provider = _PatientProvider(**options)


class _PatientProvider(OAuth2TokenProvider):
    def _refresh_token(self) -> None:
        for pause in PAUSES:
            try:
                return super()._refresh_token()
            except HTTPError as error:
                if error.response is None or error.response.status_code < SERVER_ERROR:
                    raise
            except RequestsConnectionError:
                pass  # it starts up
            time.sleep(pause)
        return super()._refresh_token()


class TransactionCatalog(RestCatalog):
    """PyIceberg's client, with every commit as one transaction over one or more tables."""

    def _create_session(self) -> Session:
        session = super()._create_session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(max_retries=RETRIES))
        return session

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        # The server names the address as it sees the store; this process may see it under another one.
        seen = self.properties.get(S3_ENDPOINT)
        return super()._load_file_io({**properties, "s3.endpoint": seen} if seen else properties, location)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        self.commit_tables([(table, requirements, updates)])
        now = self.load_table(table.name())
        return CommitTableResponse.model_validate(
            {"metadata": now.metadata, "metadata-location": now.metadata_location}
        )

    def commit_tables(self, changes: list[Change]) -> None:
        """Commit changes of several tables, all or none.

        Raises:
            CommitFailedException: a requirement does not hold; nothing landed.
            CommitStateUnknownException: no answer, or an unclear one; it may have landed.
        """
        body = {"table-changes": [_change(*change) for change in changes]}
        point("transaction.before")
        try:
            answer = self._session.post(self.url("transactions/commit"), json=body)
        except OSError as error:
            raise CommitStateUnknownException(f"transactions/commit gave no answer: {error}") from error
        point("transaction.after")
        if answer.status_code == CONFLICT:
            raise CommitFailedException(answer.text)
        if answer.status_code >= SERVER_ERROR:
            raise CommitStateUnknownException(f"transactions/commit answered {answer.status_code}: {answer.text}")
        if answer.status_code >= CLIENT_ERROR:
            _handle_non_200_response(HTTPError(response=answer), {})


def _change(
    table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
) -> dict[str, Any]:
    *namespace, name = table.name()
    identifier = TableIdentifier(namespace=Namespace(namespace), name=name)
    request = CommitTableRequest(identifier=identifier, requirements=requirements, updates=updates)
    content: dict[str, Any] = json.loads(request.model_dump_json())
    return content
