"""Whoever may name things in a service chooses words that are shown here: no page gets markup from them."""

from marketplace_sync.connectors.base import Outcome, ServiceError
from tests.accounting.shop import Shop
from tests.accounting.stage import CONNECTION, Stage

MARKUP = "<img src=x onerror=alert(1)>"


def test_of_a_document_that_somebody_made_with_our_number() -> None:
	stage = Stage(refuses_repeats=True)
	stage.site.db.insert_many("Marketplace Order", ("name", "store", "order_id"), [("O", "S", "ORDER-1")])
	stage.want("SI-1", order="O")
	stage.service.taken("SI-1", reference=MARKUP)
	stage.until_quiet()
	reason = stage.rows()["SI-1"]["reason"]
	assert "onerror" in reason and "<" not in reason


def test_of_what_stopped_a_connection() -> None:
	stage = Stage()
	stage.want("SI-1")
	stage.service.faults = [lambda what: ServiceError(Outcome.MISCONFIGURED, f"{MARKUP} is wrong.")]
	stage.send()
	((reason,),) = stage.site.db.rows(
		"SELECT circuit_reason FROM `tabAccounting State` WHERE name = %s", (CONNECTION,)
	)
	assert "onerror" in reason and "<" not in reason


def test_of_an_item() -> None:
	shop = Shop("A")
	shop.send_items()
	shop.items.change("A", sku=MARKUP, name=MARKUP)
	shop.clock.pass_until(shop.clock.now + 3_600)
	shop.compare()
	row = shop.item_rows()["A"]
	assert "onerror" in row["service_sku"] and "<" not in str(row)
