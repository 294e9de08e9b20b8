"""A host may log the local variables of every frame that an error came through, as Frappe does: no secret is among them."""

import re
import traceback

import pytest
from urllib3 import PoolManager, ProxyManager

from marketplace_sync.connectors import get_accounting_connector, get_connector
from marketplace_sync.connectors.accounting import Mode, ServiceAccount
from marketplace_sync.connectors.base import Account

MASKED = re.compile("password|passwd|secret|token|key|pwd")
"""Names of variables whose values Frappe does not show."""
SECRETS = {
	"client_secret": "the-secret-of-the-app", "api_token": "the-token-of-the-api", "access_token": "the-token-of-access",
	"refresh_token": "the-token-of-refreshing", "session": "the-session-of-the-books",
}  # fmt: skip
OF_A_STORE = {
	"app_secret": SECRETS["client_secret"], "access_token": SECRETS["access_token"],
	"refresh_token": SECRETS["refresh_token"], "shop_cipher": "the-cipher-of-the-shop",
}  # fmt: skip


class TimeIsUp(Exception):
	"""What a job queue raises in the middle of whatever runs."""


TimeIsUp.__module__ = "rq.timeouts"


def books(service, mode):
	host = "https://zeus.accurate.id" if service == "Accurate Online" else ""
	return get_accounting_connector(
		ServiceAccount(service, mode, client_id="app", database_id="7", host=host, **SECRETS)
	)


def shop(marketplace):
	return get_connector(Account(marketplace, "", "", "12345", shop_id="77", **OF_A_STORE))


CALLS = {
	"Accurate: refresh": lambda: books("Accurate Online", Mode.OAUTH).refresh(),
	"Accurate: data": lambda: books("Accurate Online", Mode.OAUTH).find_invoices(["A-1"]),
	"Accurate: API token": lambda: books("Accurate Online", Mode.API_TOKEN).databases(),
	"Jurnal: refresh": lambda: books("Jurnal", Mode.OAUTH).refresh(),
	"Jurnal: data": lambda: books("Jurnal", Mode.OAUTH).databases(),
	"Shopee: refresh": lambda: shop("Shopee").refresh(),
	"Shopee: data": lambda: shop("Shopee").locations(),
	"TikTok Shop: refresh": lambda: shop("TikTok Shop").refresh(),
	"TikTok Shop: data": lambda: shop("TikTok Shop").locations(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_job_whose_time_is_up_in_a_call_shows_no_secret(monkeypatch, call):
	def interrupted(*_args, **_kwargs):
		raise TimeIsUp("Task exceeded maximum timeout value")

	for manager in (PoolManager, ProxyManager):
		monkeypatch.setattr(manager, "urlopen", interrupted)
	with pytest.raises(TimeIsUp) as caught:
		CALLS[call]()
	assert caught.value.__context__ is None and caught.value.__cause__ is None
	frames = [frame for frame, _line in traceback.walk_tb(caught.value.__traceback__)]
	assert "send" in [frame.f_code.co_name for frame in frames]
	for frame in frames:
		for name, value in frame.f_locals.items():
			if not MASKED.search(name):
				shown = [
					secret
					for secret in (*SECRETS.values(), *OF_A_STORE.values(), "Basic ")
					if secret in repr(value)
				]
				assert not shown, (frame.f_code.co_name, name)
