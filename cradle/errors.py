"""Every error a user may meet. A message says what failed, the value, what is allowed, and what to run next."""

from __future__ import annotations

from typing import Final


class CradleError(Exception):
    """Base of all errors that the product raises on purpose."""

    exit_code: int = 1


class Retryable:
    """Marker: the same call may succeed later. Anything without it is never retried by Airflow."""


class ConfigError(CradleError):
    """A setting or a customer's YAML is wrong."""

    exit_code = 2


class UnknownCustomer(ConfigError):
    """No file of that name in the customers' folder."""


class EpochRefused(ConfigError):
    """The installation block differs from the accepted epoch."""

    exit_code = 3


class InputError(CradleError):
    """What the customer delivered can't be used as it is."""

    exit_code = 4


class NothingDelivered(InputError):
    """A source has no delivery on or before the logical date."""


class FileChanging(InputError, Retryable):
    """A file changed while it was read."""


class BuildFailed(CradleError):
    """A dbt model or test failed; nothing was published."""

    exit_code = 5


class MissingStep(CradleError):
    """An earlier verb has not run for this date."""

    exit_code = 6


class CommitConflict(CradleError, Retryable):
    """Another writer kept winning the commit."""

    exit_code = 7


class Fenced(CradleError):
    """A newer attempt has taken over; this one may not publish."""

    exit_code = 7


class VerifyFailed(CradleError):
    """An image or a collection does not hold what its manifest promises."""

    exit_code = 8


class Unavailable(CradleError, Retryable):
    """A server, a folder or a lock can't be had now."""

    exit_code = 9


class PromotionDiffers(CradleError):
    """The same inputs gave another content in the target environment."""

    exit_code = 8


class NightsFailed(CradleError):
    """Some nights of a fleet did not end well."""


SERVERS: Final = ("apache_polaris", "botocore", "psycopg", "pyiceberg", "requests", "sqlalchemy", "urllib3")


def of_a_server(error: BaseException) -> bool:
    """Tell whether an error came from a server or from the way to it: such a call may succeed later."""
    if isinstance(error, CradleError):
        return False
    kind = type(error)
    known = kind.__module__.split(".")[0] in SERVERS and not isinstance(error, ValueError)
    duckdb = kind.__module__.endswith("duckdb") and kind.__name__ in ("HTTPException", "IOException")
    return known or duckdb or (isinstance(error, OSError) and "AWS Error" in str(error))


EXIT_CODES: Final = {
    0: "done, or nothing to do",
    1: "unexpected error",
    2: "wrong setting, customer or argument",
    3: "changed installation block, not accepted",
    4: "input that can't be used",
    5: "build or test failed, nothing published",
    6: "an earlier step is missing",
    7: "another run was faster",
    8: "verification failed",
    9: "something is unavailable now",
}
