"""The services that can be connected. A new one is a file here and a line in CONNECTORS or ACCOUNTING_CONNECTORS."""

from __future__ import annotations

from .accounting import AccountingConnector, ServiceAccount
from .accurate import Accurate
from .base import Account, Connector
from .jurnal import Jurnal
from .shopee import Shopee
from .tiktok_shop import TikTokShop, Tokopedia

CONNECTORS: dict[str, type[Connector]] = {
	"Shopee": Shopee,
	"TikTok Shop": TikTokShop,
	"Tokopedia": Tokopedia,
}
ACCOUNTING_CONNECTORS: dict[str, type[AccountingConnector]] = {
	"Accurate Online": Accurate,
	"Jurnal": Jurnal,
}


def get_connector(account: Account) -> Connector:
	"""The connector of an account. Raises ValueError, to be shown as it is, when the settings can't be used."""
	if account.marketplace not in CONNECTORS:
		raise ValueError(f"Marketplace: {account.marketplace!r} is none of {', '.join(CONNECTORS)}.")
	return CONNECTORS[account.marketplace](account)


def get_accounting_connector(account: ServiceAccount) -> AccountingConnector:
	"""The same for an accounting service."""
	if account.service not in ACCOUNTING_CONNECTORS:
		raise ValueError(f"Service: {account.service!r} is none of {', '.join(ACCOUNTING_CONNECTORS)}.")
	connector = ACCOUNTING_CONNECTORS[account.service]
	if account.mode not in connector.modes:
		raise ValueError(
			f"Connect By: {account.service} knows {', '.join(mode.value for mode in connector.modes)}."
		)
	return connector(account)


__all__ = ["ACCOUNTING_CONNECTORS", "CONNECTORS", "get_accounting_connector", "get_connector"]
