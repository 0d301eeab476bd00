"""The servers behind a customer's lake: making what a customer needs there, checking it, taking it away."""

from cradle.services.provision import Step, provision, rotate

__all__ = ["Step", "provision", "rotate"]
