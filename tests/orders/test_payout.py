"""Settlement statements: lines to orders, differences, the balanced entry; and reading them from a CSV file."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace_sync.connectors.orders import Settlement, SettlementLine
from marketplace_sync.orders.payout import (
	Accounts,
	OpenCredit,
	OrderBooks,
	entry_lines,
	fees_of,
	match,
	owed_back,
	per_order,
	share_out,
	told_otherwise,
	total_problem,
)
from marketplace_sync.orders.payout_file import PayoutFileError, read_file

D = Decimal
JAKARTA = ZoneInfo("Asia/Jakarta")
NOW = datetime(2026, 11, 25, tzinfo=JAKARTA).timestamp()
ACCOUNTS = Accounts("Bank", "Clearing", {"commission fee": "Commission", "": "Other Fees"})


def line(order_id: str, gross: str, net: str, note: str = "", **fees: str) -> SettlementLine:
	return SettlementLine(
		order_id,
		D(gross),
		tuple((name.replace("_", " "), D(amount)) for name, amount in fees.items()),
		D(net),
		note,
	)


def settlement(*lines: SettlementLine, net: Decimal | None = None) -> Settlement:
	return Settlement("S1", NOW, "IDR", lines, net)


def books(paid: str = "0", settled: str = "0", **more: object) -> OrderBooks:
	return OrderBooks("STORE-1-A", "INV-1", paid=D(paid), settled=D(settled), **more)


# -- the statement -----------------------------------------------------------------------------------------------------
def test_an_order_that_comes_in_several_lines_is_one_line():
	one = per_order(
		settlement(
			line("A", "100", "90", Commission_Fee="10"),
			line("B", "50", "50"),
			line("A", "-20", "-18", "part of it came back", Commission_Fee="-2"),
		)
	)
	assert one.lines == (
		line("A", "80", "72", "part of it came back", Commission_Fee="8"),
		line("B", "50", "50"),
	)


def test_what_is_about_no_order_is_a_fee_by_its_name():
	found = per_order(settlement(line("", "-30", "-30", "Advertisement"), line("", "0", "-5", Penalty="5")))
	assert [(one.gross, one.fees, one.net) for one in found.lines] == [
		(D(0), (("Advertisement", D(30)),), D(-30)),
		(D(0), (("Penalty", D(5)),), D(-5)),
	]
	assert not total_problem(found.lines, D(-35))


def test_a_refund_is_no_fee_but_less_gross():
	one = SettlementLine("A", D(100), (("seller_return_refund", D(30)), ("Commission Fee", D(7))), D(63))
	assert per_order(settlement(one)).lines == (line("A", "70", "63", Commission_Fee="7"),)


def test_a_fee_of_an_order_is_apart_from_what_clearing_holds_for_it():
	told = settlement(
		line("A", "0", "-3", affiliate="3"), line("A", "100", "90", Commission_Fee="10"), line("B", "0", "0")
	)
	fee = line("", "0", "-3", "Order A", affiliate="3")
	assert per_order(told).lines == (fee, line("A", "100", "90", Commission_Fee="10"), line("B", "0", "0"))
	# The gross of a file is after refunds: nothing of an order in it is a fee alone.
	assert per_order(told, after_refunds=True).lines[0] == line(
		"A", "100", "87", affiliate="3", Commission_Fee="10"
	)


def test_a_refund_of_all_that_was_sold_is_no_fee():
	fees = (("seller_return_refund", D(100)), ("reverse_shipping_fee", D(3)))
	one = per_order(settlement(SettlementLine("A", D(100), fees, D(-3)))).lines
	assert [(line.order_id, line.gross) for line in one] == [("A", D(0))]
	one = per_order(settlement(SettlementLine("A", D(0), fees, D(-103)))).lines
	assert [(line.order_id, line.gross) for line in one] == [("A", D(-100))]


def test_a_total_that_differs_from_its_lines_is_told_with_the_difference():
	lines = (line("A", "100", "90", Commission_Fee="10"), line("B", "50", "50"))
	assert not total_problem(lines, None)
	assert not total_problem(lines, D("140.00"))
	assert "total is 147, but its lines come to 140: a difference of 7." in total_problem(lines, D(147))


def test_a_line_that_does_not_add_up_is_told_with_the_difference():
	assert "Order A: gross 100 less fees 10 is 90, but the statement pays out 91: a difference of 1." in (
		total_problem((line("A", "100", "91", Commission_Fee="10"),), None)
	)


# -- told again -----------------------------------------------------------------------------------------------------------
def test_what_is_told_again_stays_where_it_is_and_the_rest_is_new():
	a, b, c = line("A", "100", "90", Commission_Fee="10"), line("B", "50", "50"), line("C", "5", "5")
	again = line("A", "100", "90", "a note", commission="10")
	assert share_out([c, b, again], [[a], [b]]) == ([[again], [b]], [c])
	assert share_out([b], [[a], []]) == ([[None], []], [b])


def test_lines_without_an_order_are_known_by_their_amounts_whatever_they_are_called():
	two, three, four = (line("", "0", f"-{n}", Fee=str(n)) for n in (2, 3, 4))
	renamed = line("", "0", "-2", "Iklan", Advertisement="2")
	assert share_out([three, two], [[two]]) == ([[two]], [three])
	assert share_out([renamed], [[two]]) == ([[renamed]], [])
	# Changed, not new: else it would be posted a second time.
	assert share_out([four], [[two]]) == ([[four]], [])
	assert share_out([two, two], [[two]]) == ([[two]], [two])


def test_each_keeps_its_own_of_two_equal_amounts():
	fine, ad = line("", "0", "-2", "Fine", Fine="2"), line("", "0", "-2", "Ad", Ad="2")
	assert share_out([ad, fine], [[fine], [ad]]) == ([[fine], [ad]], [])


@pytest.mark.parametrize("file_first", [False, True])
def test_a_fee_of_an_order_is_the_same_in_a_file_that_keeps_the_order_id(file_first):
	fee = line("B", "0", "-5", "Penalty", Fees="5")
	told = per_order(settlement(fee)).lines
	assert told[0].order_id == ""
	read = per_order(settlement(line("B", "0", "-5", Fees="5")), after_refunds=True).lines
	held, now = (read, told) if file_first else (told, read)
	assert share_out(now, [held]) == ([list(now)], [])
	assert told_otherwise(held, now) == ""
	# Another fee stays another one, and what clearing holds for an order is that order's alone.
	assert share_out([*now, line("C", "0", "-6", Fees="6")], [held])[1] == [line("C", "0", "-6", Fees="6")]
	assert share_out([line("C", "100", "90", Cut="10")], [[line("B", "100", "90", Cut="10")]])[1]


def test_only_what_has_other_amounts_is_told_otherwise():
	a, b = line("A", "100", "90", Commission_Fee="10"), line("B", "50", "50")
	assert told_otherwise([a, b], [line("A", "100.0", "90", "renamed", Cut="10"), b]) == ""
	assert "A: posted 100 less fees 10 = 90, now 100 less fees 11 = 89." in told_otherwise(
		[a, b], [line("A", "100", "89", Commission_Fee="11"), b]
	)
	assert "B: posted 50 less fees 0 = 50, now not in it." in told_otherwise([a, b], [a, None])
	many = told_otherwise([b] * 12, [None] * 12)
	assert many.count("posted 50") == 5
	assert "and 7 more" in many


# -- matching ------------------------------------------------------------------------------------------------------------
def problem(gross: str, found: OrderBooks | None) -> tuple[Decimal, str]:
	(one,) = match([line("A", gross, gross)], {"A": found} if found else {})
	return one.difference, one.problem


def test_what_clearing_holds_is_settled_without_a_word():
	assert problem("100", books("100.00")) == (D(0), "")


@pytest.mark.parametrize(
	("gross", "found", "difference", "words"),
	[
		("100", None, "100", "not in ERPNext"),
		("100", OrderBooks("O", why_not_booked="Unknown SKU X."), "100", "(Unknown SKU X)"),
		("100", books("0"), "100", "INV-1 is not paid into the store's clearing account"),
		("100", books("0", is_open=True), "100", "Make its Payment Entry"),
		("100", books("0"), "100", "It was settled otherwise"),
		("100", books("90"), "10", "a difference of 10"),
		("90", books("100"), "-10", "a difference of -10"),
		("100", books("100", "100", settled_in=("S0",)), "100", "Settled before, with 100 in S0"),
		("70", books("100", draft_credit_note="INV-2"), "-30", "credit note INV-2 is a draft"),
		(
			"-100",
			books("100", "100", settled_in=("S0",), draft_credit_note="INV-2"),
			"-100",
			"credit note INV-2 is a draft",
		),
	],
)
def test_what_differs_is_told_with_its_cure(gross, found, difference, words):
	told, text = problem(gross, found)
	assert told == D(difference)
	assert words in text


def test_a_return_is_less_in_clearing_and_so_is_what_another_payout_settled():
	credit = OpenCredit("INV-2", "Debtors", "Store", D(30))
	assert problem("70", books("100", credits=(credit,))) == (D(0), "")
	assert problem("-30", books("100", "100", settled_in=("S0",), credits=(credit,))) == (D(0), "")
	assert problem("40", books("100", "60", settled_in=("S0",))) == (D(0), "")


def test_no_gross_of_an_order_that_is_not_here_is_no_difference():
	assert problem("0", None) == (D(0), "")


def test_a_negative_line_after_its_payout_asks_for_the_credit_note():
	assert "credit note of 100 against INV-1" in problem("-100", books("100", "100", settled_in=("S0",)))[1]


def test_a_return_of_what_was_never_paid_is_not_paid_back():
	def net(unpaid: str, *credits: str) -> list[Decimal]:
		return [
			one.amount
			for one in owed_back(
				[OpenCredit(f"INV-{c}", "Debtors", "Store", D(c)) for c in credits], D(unpaid)
			)
		]

	assert net("0", "30", "20") == [D(30), D(20)]
	assert net("100", "100") == []
	assert net("35", "30", "20") == [D(15)]
	assert net("10", "30") == [D(20)]


# -- the entry ---------------------------------------------------------------------------------------------------------
def test_the_entry_takes_gross_out_of_clearing():
	lines = settlement(
		line("A", "100.50", "85.50", Commission_Fee="10", Service_Fee="5"),
		line("B", "50", "52", commission_fee="-2"),
		line("", "0", "-7", Advertisement="7"),
	).lines
	matched = match(lines, {"A": books("100.50"), "B": books("50")})
	found = {one.account: one.amount for one in entry_lines(matched, ACCOUNTS, 2)}
	assert found == {
		"Bank": D("130.50"),
		"Commission": D("8.00"),
		"Other Fees": D("12.00"),
		"Clearing": D("-150.50"),
	}


def test_an_open_return_is_paid_back_out_of_clearing():
	credit = OpenCredit("INV-2", "Debtors", "Store", D(30))
	matched = match([line("A", "70", "70")], {"A": books("100", credits=(credit,))})
	found = entry_lines(matched, ACCOUNTS, 2)
	assert [(one.account, one.amount, one.customer, one.against) for one in found] == [
		("Bank", D(70), "", ""),
		("Debtors", D(30), "Store", "INV-2"),
		("Clearing", D(-100), "", ""),
	]


def test_a_statement_of_nothing_makes_no_entry():
	assert entry_lines(match([line("", "0", "0")], {}), ACCOUNTS, 2) == []


def test_a_fee_without_an_account_is_named():
	with pytest.raises(ValueError, match="no account for the fee Service Fee"):
		entry_lines(
			match([line("A", "5", "0", Service_Fee="5")], {"A": books("5")}),
			Accounts("Bank", "Clearing", {"commission fee": "Commission"}),
			2,
		)


@pytest.mark.parametrize("missing", ["Bank", "Clearing"])
def test_an_account_that_is_missing_is_named(missing):
	rows = [(purpose, "", purpose) for purpose in ("Bank", "Clearing", "Fees") if purpose != missing]
	with pytest.raises(ValueError, match=f"add a row with the purpose {missing}"):
		Accounts.of(rows)


def test_bank_and_clearing_are_two_accounts():
	with pytest.raises(ValueError, match="same account"):
		Accounts.of([("Bank", "", "One"), ("Clearing", "", "One")])


amounts = st.decimals(D("-1e9"), D("1e9"), places=3, allow_nan=False, allow_infinity=False)


@st.composite
def statement_lines(draw: st.DrawFn) -> list[SettlementLine]:
	found = []
	for order_id in draw(st.lists(st.sampled_from(["", "A", "B", "C"]), max_size=8)):
		gross = draw(amounts)
		fees = tuple(
			draw(st.lists(st.tuples(st.sampled_from(["Commission Fee", "X", ""]), amounts), max_size=3))
		)
		found.append(SettlementLine(order_id, gross, fees, gross - sum((fee for _n, fee in fees), D(0))))
	return found


@given(statement_lines(), st.dictionaries(st.sampled_from("ABC"), amounts), st.integers(0, 3))
def test_every_entry_balances_and_clearing_keeps_just_the_differences(lines, paid, places):
	one = per_order(settlement(*lines))
	assert not total_problem(one.lines, sum((raw.net for raw in lines), D(0)))
	matched = match(one.lines, {order: books(str(amount)) for order, amount in paid.items()})
	entry = entry_lines(matched, ACCOUNTS, places)
	assert sum((row.amount for row in entry), D(0)) == 0
	assert len({row.account for row in entry}) == len(entry)
	if places == 3:  # nothing is rounded
		clearing = sum((row.amount for row in entry if row.account == "Clearing"), D(0))
		named = {one.line.order_id for one in matched}
		assert sum((paid[order] for order in paid if order in named), D(0)) + clearing == -sum(
			(one.difference for one in matched), D(0)
		)
		assert -clearing == sum((raw.gross for raw in lines if raw.order_id), D(0))


# -- CSV ------------------------------------------------------------------------------------------------------------------
COLUMNS = [
	("Payout No", "Settlement ID"),
	("Date", "Paid At"),
	("Order", "Order ID"),
	("Sales", "Gross"),
	("Commission", "Fee"),
	("Service", "Fee"),
	("Paid", "Net"),
	("Remark", "Note"),
]
HEADER = "Payout No;Date;Order;Sales;Commission;Service;Paid;Remark;Unused"


def file(*rows: str, header: str = HEADER) -> bytes:
	return "\r\n".join([header, *rows]).encode("utf-8-sig")


def read(data: bytes, columns=COLUMNS, currency: str = "IDR") -> list[Settlement]:
	return read_file(data, columns, currency, JAKARTA, NOW)


def refused(data: bytes, columns=COLUMNS, currency: str = "IDR") -> list[tuple[int, str, str]]:
	with pytest.raises(PayoutFileError) as caught:
		read(data, columns, currency)
	return [(one.row, one.column, one.text) for one in caught.value.problems]


def test_a_file_becomes_its_settlements():
	found = read(
		file(
			"P1;20/11/2026 09:30;A;1.234.567,89;1.234,00;0;1.233.333,89;;x",
			"",
			"P2;21/11/2026;B;500;-;-5;505;;",
			'P1;20/11/2026 09:30;;;1.000;;-1.000;"Iklan; banner";',
		)
	)
	assert found == [
		Settlement(
			"P1",
			datetime(2026, 11, 20, 9, 30, tzinfo=JAKARTA).timestamp(),
			"IDR",
			(
				SettlementLine("A", D("1234567.89"), (("Commission", D(1234)),), D("1233333.89")),
				SettlementLine("", D(0), (("Commission", D(1000)),), D(-1000), "Iklan; banner"),
			),
		),
		Settlement(
			"P2",
			datetime(2026, 11, 21, tzinfo=JAKARTA).timestamp(),
			"IDR",
			(SettlementLine("B", D(500), (("Service", D(-5)),), D(505)),),
		),
	]


def test_english_numbers_and_commas():
	data = file(
		'P1,2026-11-20,A,"1,234,567.89",(1000.50),0,"1,233,567.39",,', header=HEADER.replace(";", ",")
	)
	(found,) = read(data)
	# The file writes its fees as negative amounts.
	assert found.lines == (
		SettlementLine("A", D("1234567.89"), (("Commission", D("1000.50")),), D("1233567.39")),
	)


@pytest.mark.parametrize(
	("text", "value"),
	[
		("1.234.567,89", "1234567.89"),
		("1.234.567", "1234567"),
		("1234,5", "1234.5"),
		("Rp 1.234,00", "1234"),
		("Rp.1.234,00", "1234"),
		("IDR 1.234,00", "1234"),
		("1.234,00-", "-1234"),
		("-Rp1.234,00", "-1234"),
		("\u22121.234,00", "-1234"),
		("0,500", "0.5"),
		("1234.5", "1234.5"),
		("1,234.50", "1234.5"),
		("1,234,567", "1234567"),
		("1234567", "1234567"),
		(".5", "0.5"),
	],
)
def test_an_amount_that_shows_how_it_is_written(text, value):
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	(found,) = read(file(f"P1;2026-11-20;A;;;;{text};;"), columns)
	assert found.lines == (SettlementLine("A", D(value), (), D(value)),)


@pytest.mark.parametrize(
	("currency", "cells"),
	[("KWD", ("1.234", "2.000")), ("IDR", ("1.234", "2,000"))],
)
def test_an_amount_that_could_be_two_is_refused(currency, cells):
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	rows = [f"P1;2026-11-20;{name};;;;{cell};;" for name, cell in zip("AB", cells, strict=True)]
	problems = refused(file(*rows), columns, currency=currency)
	assert [(row, column) for row, column, _text in problems] == [(2, "Paid"), (3, "Paid")]
	assert "1.234 could be 1234 or 1.234" in problems[0][2]


@pytest.mark.parametrize(
	("currency", "paid"), [("IDR", "20.000"), ("USD", "20,000"), ("IDR", "Rp. 20.000"), ("IDR", "Rp. 20,000")]
)
def test_round_thousands_in_a_currency_without_thousandths(currency, paid):
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	(found,) = read(
		file(f"P1;2026-11-20;A;;;;{paid};;", "P1;2026-11-20;B;;;;500;;"), columns, currency=currency
	)
	assert [one.net for one in found.lines] == [D(20_000), D(500)]


def test_a_column_is_read_as_a_whole_and_after_the_other_columns():
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	(found,) = read(file("P1;2026-11-20;A;;;;1.234;;", "P1;2026-11-20;B;;;;1.234,5;;"), columns)
	assert [one.net for one in found.lines] == [D(1234), D("1234.5")]
	(found,) = read(file("P1;2026-11-20;A;5.000,00;1.000;0;4.000;;"))
	assert found.lines[0].fees == (("Commission", D(1000)),)


def test_two_ways_in_one_column_are_refused():
	problems = refused(
		file("P1;2026-11-20;A;1.234,50;0;0;1234,50;;", "P1;2026-11-20;B;1,234.50;0;0;1234,50;;")
	)
	assert (3, "Sales") in [(row, column) for row, column, _text in problems]
	assert "row 2's 1.234,50" in problems[0][2]


@pytest.mark.parametrize(
	"text", ["", "abc", "1.2.34,5", "12,34,5", "1e5", "nan", "--5", "(5", "5 6", "1.234,5.6"]
)
def test_what_is_no_amount_is_refused(text):
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	problems = refused(file(f"P1;2026-11-20;A;;;;{text};x;"), columns)
	assert [(row, column) for row, column, _text in problems] == [(2, "Paid")]


def test_another_currency_is_refused():
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	assert "not in IDR" in refused(file("P1;2026-11-20;A;;;;USD 5.10;;"), columns)[0][2]
	assert "10 digits" in refused(file("P1;2026-11-20;A;;;;10000000000,5;;"), columns)[0][2]
	assert "not in USD" in refused(file("P1;2026-11-20;A;;;;Rp 5,10;;"), columns, "USD")[0][2]


@pytest.mark.parametrize(
	("text", "day", "hour"),
	[
		("2026-11-05", 5, 0),
		("2026/11/05 14:30", 5, 14),
		("2026-11-05T14:30:15", 5, 14),
		("2026-11-05T23:30:00Z", 6, 6),
		("2026-11-05 14:30:15.250 +07:00", 5, 14),
		("05/11/2026", 5, 0),
		("5.11.2026 9:05", 5, 9),
		("05-11-2026", 5, 0),
		("5 Nov 2026", 5, 0),
		("05 Nopember 2026, 14:30", 5, 14),
		("5-Nov-2026", 5, 0),
		("11/13/2026", 13, 0),
	],
)
def test_dates_in_the_usual_forms(text, day, hour):
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	(found,) = read(file(f"P1;{text};A;;;;5;;"), columns)
	at = datetime.fromtimestamp(found.paid_at, JAKARTA)
	assert (at.year, at.month, at.day, at.hour) == (2026, 11, day, hour)


@pytest.mark.parametrize(
	"text",
	["", "46347", "2026-13-01", "31/02/2026", "31/31/2026", "5 Foo 2026", "20/11/26", "2026-11-05 25:00"],
)
def test_what_is_no_date_is_refused(text):
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	problems = refused(file(f"P1;{text};A;;;;5;;"), columns)
	assert [(row, column) for row, column, _text in problems] == [(2, "Date")]


def test_a_payout_of_tomorrow_is_a_date_in_the_wrong_order():
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	assert "in the future" in refused(file("P1;11/12/2026;A;;;;5;;"), columns)[0][2]


def test_day_and_month_in_two_orders_are_refused():
	columns = [*COLUMNS[:3], ("Paid", "Net")]
	problems = refused(file("P1;20/11/2026;A;;;;5;;", "P2;11/20/2026;A;;;;5;;"), columns)
	assert (3, "Date") in [(row, column) for row, column, _text in problems]


def test_a_row_that_does_not_add_up_is_refused():
	problems = refused(file("P1;2026-11-20;A;100;10;0;90;;", "P1;2026-11-20;B;100;10;0;80;;"))
	assert [(row, column) for row, column, _text in problems] == [(3, "Paid")]
	assert "gross 100 less fees 10 is 90, not 80: a difference of -10" in problems[0][2]


def test_one_settlement_is_paid_on_one_day():
	problems = refused(file("P1;2026-11-20;A;5;0;0;5;;", "P1;2026-11-21;B;5;0;0;5;;"))
	assert [(row, column) for row, column, _text in problems] == [(3, "Date")]


def test_a_total_row_is_refused():
	assert (3, "Payout No") in [
		(row, column)
		for row, column, _text in refused(file("P1;2026-11-20;A;5;0;0;5;;", ";2026-11-20;;5;0;0;5;;"))
	]


def test_an_id_that_a_spreadsheet_has_shortened_is_refused():
	problems = refused(file("P1;2026-11-20;5,78E+17;5;0;0;5;;"))
	assert [(row, column) for row, column, _text in problems] == [(2, "Order")]


def test_all_errors_of_a_file_are_told_and_the_first_ones_shown():
	problems = refused(file(*[f"P{n};2026-11-20;A;x;0;0;5;;" for n in range(30)]))
	assert [row for row, _column, _text in problems] == list(range(2, 32))
	with pytest.raises(PayoutFileError, match="… and 10 more"):
		read(file(*[f"P{n};2026-11-20;A;x;0;0;5;;" for n in range(30)]))


@pytest.mark.parametrize(
	("data", "words"),
	[
		(b"PK\x03\x04", "Excel workbook"),
		("Payout Nö".encode("latin-1"), "not UTF-8"),
		(b"", "empty"),
		(file(), "header only"),
		(
			file("P1;2026-11-20", header="Payout No;Date"),
			"there is no such column; the file has: Payout No, Date",
		),
		(file(header=HEADER + ";Paid"), "there twice"),
		(file("P1;2026-11-20;A;5;0;0;5;;;too much"), "10 cells, the header 9"),
		(file('P1;2026-11-20;"A"x;5;0;0;5;;'), "can't be read as CSV"),
	],
)
def test_a_file_that_is_no_table_is_refused(data, words):
	assert any(words in text for _row, _column, text in refused(data))


@pytest.mark.parametrize(
	("columns", "words"),
	[
		([("A", "Order ID"), ("B", "Net")], "add the column that means Settlement ID"),
		([*COLUMNS, ("Again", "Net")], "two columns mean Net"),
		([*COLUMNS, ("Service", "Fee")], "Service is there twice"),
		([one for one in COLUMNS if one[1] != "Gross"], "add the column that means Gross"),
	],
)
def test_a_mapping_that_can_not_work_is_refused(columns, words):
	assert any(words in text for _row, _column, text in refused(file("P1;2026-11-20;A;5;0;0;5;;"), columns))


def test_without_columns_of_fees_the_fee_is_what_is_missing():
	columns = [one for one in COLUMNS if one[1] != "Fee"]
	(found,) = read(file("P1;2026-11-20;A;100;;;90;;"), columns)
	assert found.lines == (SettlementLine("A", D(100), (("Fees", D(10)),), D(90)),)


@given(
	st.lists(st.decimals(D(-10_000_000), D(10_000_000), places=2, allow_nan=False), min_size=1, max_size=6),
	st.sampled_from([",", ";"]),
	st.booleans(),
)
def test_whatever_is_written_one_way_is_read_back(values, delimiter, indonesian):
	def text(value: Decimal) -> str:
		english = f"{value:,.2f}"
		return english.translate(str.maketrans(".,", ",.")) if indonesian else english

	out = io.StringIO()
	writer = csv.writer(out, delimiter=delimiter)
	writer.writerow(["Payout No", "Date", "Order", "Sales", "Commission", "Service", "Paid", "Remark"])
	for index, value in enumerate(values):
		writer.writerow(["P1", "2026-11-20", f"O{index}", text(value), text(D(1)), "0", text(value - 1), ""])
	(found,) = read(out.getvalue().encode())
	assert [one.gross for one in found.lines] == values
	assert [fees_of(one) for one in found.lines] == [D(1)] * len(values)
