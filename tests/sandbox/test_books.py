"""The books themselves: what any bookkeeping does, before a service speaks on it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from dialect_clients import Http

from marketplace_sync.sandbox import ControlClient, ControlError
from marketplace_sync.sandbox.books import (
	Books,
	Charge,
	Closed,
	HasReceipts,
	Invoice,
	Line,
	Missing,
	OtherCustomer,
	Overpaid,
	Part,
	Receipt,
	Taken,
	TooFew,
)
from marketplace_sync.sandbox.books_seed import create_books
from marketplace_sync.sandbox.meter import Meter
from marketplace_sync.sandbox.world import World, WorldError

D = Decimal


@pytest.fixture
def books() -> Books:
	spec = {
		"id": "1",
		"dialect": "accurate",
		"warehouses": ["Online", "Toko"],
		"customers": ["Tokopedia", "Shopee"],
		"items": [
			{"sku": "A", "stock": {"Online": 10, "Toko": 4}, "cost": "100"},
			{"sku": "B", "stock": 0},
			{"sku": "NEW"},
			{"sku": "ONGKIR", "keeps_stock": False},
		],
	}
	return create_books(World(), spec)


def invoice(books: Books, number: str = "I-1", quantity: int = 3, **more: Any) -> Invoice:
	line = Line(books.item("A"), D(quantity), D(1000), D(1000 * quantity), books.warehouse("Online"))
	total = more.pop("total", D(1000 * quantity))
	customer = books.customer(more.pop("customer", "Tokopedia"))
	return books.add_invoice(number, customer, more.pop("date", "2026-11-22"), [line], total, **more)


def receipt(books: Books, *parts: tuple[Invoice, int], number: str = "R-1", **more: Any) -> Receipt:
	total = sum((D(paid) for _invoice, paid in parts), D(0))
	return books.add_receipt(
		number,
		books.customer(more.pop("customer", "Tokopedia")),
		"2026-11-23",
		books.account("Rekening Bank"),
		[Part(one, D(paid)) for one, paid in parts],
		total,
		**more,
	)


def stock(books: Books) -> dict[str, str]:
	return {place.name: str(books.stock_of(books.item("A"), place)) for place in books.warehouses.values()}


# -- stock -------------------------------------------------------------------------------------------------
def test_an_item_has_stock_only_where_it_ever_had_any(books: Books) -> None:
	online = books.warehouse("Online").id
	assert online in books.item("B").stock
	assert not books.item("NEW").stock


def test_an_invoice_cuts_stock_and_its_deletion_brings_it_back(books: Books) -> None:
	made = invoice(books)
	assert stock(books) == {"Online": "7", "Toko": "4"}
	books.delete_invoice(made)
	assert stock(books) == {"Online": "10", "Toko": "4"}


def test_an_item_without_stock_and_a_line_without_a_warehouse(books: Books) -> None:
	lines = [Line(books.item("A"), D(1), D(10), D(10)), Line(books.item("ONGKIR"), D(1), D(9), D(9))]
	books.add_invoice("I", books.customer("Shopee"), "2026-11-22", lines, D(19))
	assert stock(books) == {"Online": "9", "Toko": "4"}
	assert not books.item("ONGKIR").stock


def test_stock_may_go_below_zero_unless_the_books_say_no(books: Books) -> None:
	invoice(books, "I-1", 12)
	assert stock(books)["Online"] == "-2"
	books.settings["negative_stock"] = False
	with pytest.raises(TooFew):
		invoice(books, "I-2", 1)
	assert [one.number for one in books.invoices.values()] == ["I-1"]


def test_two_lines_of_one_item_need_their_sum(books: Books) -> None:
	books.settings["negative_stock"] = False
	line = Line(books.item("A"), D(6), D(1), D(6), books.warehouse("Online"))
	with pytest.raises(TooFew):
		books.add_invoice("I", books.customer("Shopee"), "2026-11-22", [line, line], D(12))
	assert stock(books)["Online"] == "10"


def test_an_offline_sale_a_purchase_and_a_count(books: Books) -> None:
	item, toko = books.item("A"), books.warehouse("Toko")
	assert books.move(item, toko, D(-3)) == 1
	assert books.move(item, toko, D(9), unit_cost=D(200)) == 10
	assert item.cost == D(145)  # 11 at 100 and 9 at 200
	books.set_stock(item, toko, D(2))
	moves = [event for event in books.journal if event.what == "stock" and event.place == "Toko"][-3:]
	assert [(event.before, event.after, event.cause) for event in moves] == [
		(4, 1, "hand"),
		(1, 10, "hand"),
		(10, 2, "hand"),
	]


# -- invoices ----------------------------------------------------------------------------------------------
def test_a_number_is_taken_until_its_invoice_is_deleted(books: Books) -> None:
	first = invoice(books)
	with pytest.raises(Taken) as caught:
		invoice(books)
	assert caught.value.other is first and caught.value.field == "number"
	books.delete_invoice(first)
	assert invoice(books).id != first.id


def test_a_key_is_taken_unless_the_service_does_not_look(books: Books) -> None:
	invoice(books, "I-1", key="K")
	with pytest.raises(Taken) as caught:
		invoice(books, "I-2", key="K")
	assert caught.value.field == "key"
	invoice(books, "I-2", key="K", unique_key=False)
	assert [one.number for one in books.keyed("invoice", "K")] == ["I-1", "I-2"]


def test_an_invoice_without_a_number_gets_one(books: Books) -> None:
	first, second = invoice(books, ""), invoice(books, "")
	assert first.number and second.number and first.number != second.number


def test_what_was_sent_is_kept(books: Books) -> None:
	given = {"number": "I-1", "odd": ["as", "it", "came"]}
	assert invoice(books, sent=given, request_id="r-1").sent == given


def test_a_closed_period(books: Books) -> None:
	books.settings["closed_until"] = "2026-11-22"
	with pytest.raises(Closed):
		invoice(books)
	invoice(books, date="2026-11-23")


def test_what_is_refused_leaves_no_trace(books: Books) -> None:
	invoice(books)
	events, before = len(books.journal), stock(books)
	with pytest.raises(Taken):
		invoice(books)
	assert (len(books.journal), stock(books)) == (events, before)


# -- receipts ----------------------------------------------------------------------------------------------
def test_a_receipt_settles_and_its_deletion_unsettles(books: Books) -> None:
	first, second = invoice(books, "I-1"), invoice(books, "I-2")
	made = receipt(books, (first, 1000), (second, 3000))
	assert (books.owed(first), books.owed(second)) == (2000, 0)
	assert books.receipts_of(second) == [made]
	with pytest.raises(HasReceipts) as caught:
		books.delete_invoice(second)
	assert caught.value.receipts == [made]
	books.delete_receipt(made)
	assert (books.owed(first), books.owed(second)) == (3000, 3000)
	books.delete_invoice(second)
	with pytest.raises(Missing):
		books.delete_receipt(made)


def test_a_receipt_of_too_much_of_somebody_elses_or_of_nothing(books: Books) -> None:
	mine, other = invoice(books, "I-1"), invoice(books, "I-2", customer="Shopee")
	with pytest.raises(Overpaid):
		receipt(books, (mine, 3001))
	with pytest.raises(Overpaid):
		receipt(books, (mine, 2000), (mine, 1001))
	with pytest.raises(OtherCustomer):
		receipt(books, (other, 1))
	books.delete_invoice(mine)
	with pytest.raises(Missing):
		receipt(books, (mine, 1))
	assert not books.receipts


# -- the journal and the judge -----------------------------------------------------------------------------
def test_the_journal_tells_all_and_repetitions_are_counted(books: Books) -> None:
	first = invoice(books, "I-1", reference="ORDER-1")
	books.delete_invoice(first)
	invoice(books, "I-1", reference="ORDER-1")
	invoice(books, "I-2", reference="ORDER-1")
	invoice(books, "I-3", reference="ORDER-2")
	story = [(event.did, event.name) for event in books.journal if event.what == "invoice"]
	assert story == [
		("created", "I-1"),
		("deleted", "I-1"),
		("created", "I-1"),
		("created", "I-2"),
		("created", "I-3"),
	]
	assert [event.seq for event in books.journal] == list(range(1, len(books.journal) + 1))
	assert books.repeated() == [
		{"what": "invoice", "by": "number", "name": "I-1", "living": 1, "ever": 2},
		{"what": "invoice", "by": "reference", "name": "ORDER-1", "living": 2, "ever": 3},
	]
	assert books.deleted == [first] and first.deleted


def test_names_are_exact(books: Books) -> None:
	for look, name in ((books.customer, "tokopedia"), (books.warehouse, "online"), (books.item, "a")):
		with pytest.raises(Missing):
			look(name)
	group = books.add_account("9", "Grup", "expense", is_group=True)
	with pytest.raises(Missing):
		books.account(group.id)


# -- the meter ---------------------------------------------------------------------------------------------
def test_the_meter_keeps_every_window_and_the_calls_at_once() -> None:
	meter, limits = Meter(), {"rate_limit": 2, "minute_limit": 3, "parallel_limit": 2}
	assert [meter.admits(limits, at) for at in (0.0, 0.1, 0.2, 1.05)] == [True, True, False, True]
	assert meter.left(limits, 30.0) == {"rate_limit": 2, "minute_limit": 0}
	assert not meter.admits(limits, 59.9)
	assert meter.admits(limits, 60.0)
	for _ in range(3):
		meter.enter()
	assert not meter.admits(limits, 200.0)
	meter.leave()
	assert meter.admits(limits, 200.0)
	assert meter.most_at_once == 3
	assert all(Meter().admits({"rate_limit": None}, 0.0) for _ in range(100))


# -- the control API ---------------------------------------------------------------------------------------
def test_books_by_the_control_api(control: ControlClient) -> None:
	made = control.create_books(
		{
			"id": "7",
			"dialect": "jurnal",
			"stock": {"A": "2.5"},
			"warehouses": ["Online", "Toko"],
			"hour_limit": 9,
		}
	)
	assert made["settings"]["hour_limit"] == 9
	assert control.books("7")["name"] == "PT 7"
	assert [one["id"] for one in control.all_books()] == ["7"]
	assert control.move_books_stock("7", "A", -1, warehouse="Toko") == -1
	control.set_books_stock("7", {"A": 4})
	assert control.books_stock("7") == {"A": D(3)}
	assert control.books_stock("7", "Online") == {"A": D(4)}
	control.add_books_item("7", sku="A", name="The same SKU again", stock=1)
	control.rename_books_item("7", "A", new_sku="A-1")
	assert sorted(control.books_stock("7")) == ["A", "A-1"]
	assert control.configure_books("7", minute_limit=None)["settings"]["minute_limit"] is None
	events = control.journal("7")
	assert control.journal("7", after=len(events) - 1) == events[-1:]
	page = Http(control.url).call("GET", "/").body.decode()
	assert "<td>PT 7</td>" in page
	control.delete_books("7")
	with pytest.raises(ControlError, match="no books '7'"):
		control.books("7")


@pytest.mark.parametrize(
	("spec", "why"),
	[
		({"id": "x", "dialect": "accurate"}, "digits"),
		({"id": "1", "dialect": "zahir"}, "dialect must be one of accurate, jurnal"),
		({"id": "1", "dialect": "accurate", "minute": 3}, "unknown key 'minute' in books"),
		({"id": "1", "dialect": "accurate", "stock": {"A": "many"}}, "stock of A must be a number"),
		({"id": "1", "dialect": "accurate", "items": [{"sku": "A", "qty": 1}]}, "unknown key 'qty' in item"),
	],
)
def test_a_specification_that_makes_no_sense(spec: dict[str, Any], why: str) -> None:
	with pytest.raises(WorldError, match=why):
		create_books(World(), spec)


def test_a_person_deletes_in_the_services_screens(control: ControlClient, sandbox: Any) -> None:
	control.create_books({"id": "1", "dialect": "accurate", "customers": ["Tokopedia"], "stock": {"A": 5}})
	books = sandbox.world.books["1"]
	line = Line(books.item("A"), D(2), D(10), D(20))
	made = books.add_invoice("I-1", books.customer("Tokopedia"), "2026-11-22", [line], D(20), cause="hand")
	books.add_receipt(
		"R-1",
		made.customer,
		"2026-11-22",
		books.account("1-10001"),
		[Part(made, D(20))],
		D(18),
		fees=[Charge(None, D(2), "fee")],
	)
	assert control.invoices("1")[0]["receipts"] == ["R-1"]
	assert control.receipts("1")[0]["fees"] == [{"account": None, "amount": "2", "text": "fee"}]
	with pytest.raises(ControlError, match="has receipts"):
		control.delete_document("1", invoice="I-1")
	control.delete_document("1", receipt="R-1")
	control.delete_document("1", invoice="I-1")
	assert control.invoices("1") == [] and len(control.invoices("1", deleted=True)) == 1
	assert control.receipts("1", deleted=True)[0]["number"] == "R-1"
	assert control.journal("1")[-1]["cause"] == "hand"
