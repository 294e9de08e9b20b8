"""What the engine tells is said again in Indonesian, its values untouched."""

from __future__ import annotations

import ast
import csv
import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from marketplace_sync.availability.sellable import SellableRule, check_rule
from marketplace_sync.connectors.orders import AmountKind, OrderAmount, OrderStatus, SettlementLine
from marketplace_sync.listings.matching import near_note
from marketplace_sync.orders.amounts import Accounts, charges
from marketplace_sync.orders.booking import Books, Paper, plan
from marketplace_sync.orders.lines import resolve
from marketplace_sync.orders.payout import OrderBooks, problem_of, told_otherwise, total_problem
from marketplace_sync.orders.payout_file import (
	NET,
	ORDER_ID,
	PAID_AT,
	SETTLEMENT_ID,
	PayoutFileError,
	read_file,
)
from marketplace_sync.orders.status import PRESETS, Action, Rule, check_rules, rank, target
from marketplace_sync.stock.decision import bound_reason
from marketplace_sync.stock.diagnosis import why
from marketplace_sync.stock.resync import preview
from marketplace_sync.told import ANYTHING, FILES, NAMES, sayings
from tests.orders.build import a_line, an_order
from tests.shop import Shop

S = OrderStatus
ROOT = Path(__file__).parents[1] / "marketplace_sync"
INDONESIAN = sayings("id")
ENGLISH = re.compile(r"\b(the|is|was|its|it|and|or|of|this|that|to|has|then|here|press|no)\b")
"""Words that no Indonesian sentence has."""


def said(text: str, *values: str) -> str:
	"""The text in Indonesian, which has all of these values and nothing English beside them."""
	told = INDONESIAN.text(text)
	rest = told
	for value in values:
		assert value in text and value in told, (value, told)
		rest = rest.replace(value, "")
	assert not ENGLISH.search(rest.lower()), told
	return told


def planned(status: OrderStatus, books: Books, draft: bool = False, **more: Any) -> str:
	order = an_order(a_line(quantity=2, returned=more.pop("returned", 0)), status=status)
	rules = [replace(rule, draft=draft) for rule in PRESETS["Accurate style"]]
	left = rank(status) >= rank(S.SHIPPED) or status is S.RETURNED
	goal = target(rules, rank(status), status, left)
	made = plan(order, goal, books, units={"L1": 2}, has_left=left, **{"changed": False} | more)
	return made.problem or made.remark


# -- orders --------------------------------------------------------------------------------------------------------
def test_what_an_order_waits_for():
	told = said(planned(S.SHIPPED, Books(Paper("SO-1", draft=True))), "SO-1")
	assert told == "Submit SO-1: Faktur Penjualan dibuat darinya."
	said(planned(S.READY_TO_SHIP, Books(), draft=True))
	said(planned(S.DELIVERED, Books(Paper("SO-1"), Paper("SI-1", draft=True))), "SI-1")
	changed = Books(Paper("SO-1"), Paper("SI-1"), settled=True, touched=True)
	assert said(planned(S.SHIPPED, changed, changed=True), "SI-1").startswith(
		"Barang atau nilainya berubah di marketplace setelah SI-1 final. Periksa:"
	)


def test_what_came_back_uninvoiced_in_all_its_forms():
	rules = [rule for rule in PRESETS["Reserve early"] if "Invoice" not in rule.action.value]
	goal = target(rules, rank(S.SHIPPED), S.RETURNED, True)
	for returned in (1, 2):
		for books in (Books(), Books(Paper("SO.1-1")), Books(Paper("SO.1-1", draft=True))):
			order = an_order(a_line(quantity=2, returned=returned), status=S.RETURNED)
			problem = plan(order, goal, books, units={"L1": 2}, has_left=True, changed=False).problem
			assert problem
			told = said(problem, *(["SO.1-1"] if books.order else []))
			assert told.startswith("Sebagian barang kembali" if returned == 1 else "Barangnya kembali")


def test_a_status_that_nobody_knows_with_its_name():
	order = an_order(status=S.UNKNOWN, remote_status="IN. THE ATTIC {0}")
	problem = plan(
		order, target([], 0, S.UNKNOWN, False), Books(), units={}, has_left=False, changed=False
	).problem
	assert said(problem, "'IN. THE ATTIC {0}'").startswith(
		"Marketplace mengatakan 'IN. THE ATTIC {0}', status"
	)


def test_lines_that_are_no_items_one_after_the_other():
	shop = Shop()
	store = shop.store()
	order = an_order(a_line("A; B", number=1), a_line("", number=2, title="Botol. Biru"))
	lines = resolve(shop.site.db, shop.site.store(store), [order], {})["O-1"]
	told = said("; ".join(one.problem for one in lines), "'A; B'", "'Botol. Biru'")
	assert told.startswith(
		"SKU 'A; B' bukan item di sini: petakan listing-nya, atau buat Item 'A; B'.; 'Botol. Biru' tidak"
	)


def test_amounts_that_do_not_add_up_and_an_account_that_is_missing():
	order = an_order(total=D(30_000), amounts=())
	with pytest.raises(ValueError) as unbalanced:
		charges(order, {"L1": 1}, Accounts(income="Sales"), 2)
	assert said(str(unbalanced.value), "IDR 30,000", "IDR 20,000").startswith(
		"Total marketplace IDR 30,000 lebih besar IDR 20,000"
	)
	order = an_order(total=D(12_000), amounts=(OrderAmount(AmountKind.SHIPPING, D(2_000)),))
	with pytest.raises(ValueError) as unmapped:
		charges(order, {"L1": 1}, Accounts(income="Sales"), 2)
	said(str(unmapped.value), AmountKind.SHIPPING.value)


# -- payouts -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
	("books", "values"),
	[
		(None, ()),
		(OrderBooks("O"), ()),
		(OrderBooks("O", why_not_booked="SKU 'X.1' is no item here: map its listing, or create the Item 'X.1'."), ("'X.1'",)),
		(OrderBooks("O", "SI-1", unallocated="PE-1"), ("PE-1", "SI-1")),
		(OrderBooks("O", "SI-1", is_open=True), ("SI-1",)),
		(OrderBooks("O", "SI-1"), ("SI-1",)),
		(OrderBooks("O", "SI-1", paid=D("90.5")), ("90.5", "100", "9.5")),
		(OrderBooks("O", "SI-1", paid=D(150), draft_credit_note="CN-1"), ("150", "100", "CN-1")),
		(OrderBooks("O", "SI-1", paid=D(150), settled=D(120), settled_in=("S.1", "S2")), ("120", "30", "S.1, S2")),
		(OrderBooks("O", "SI-1", paid=D(250), settled=D(120), settled_in=("S1",)), ("130", "SI-1")),
	],
)  # fmt: skip
def test_what_is_wrong_with_a_line_of_a_statement(books: OrderBooks | None, values: tuple[str, ...]):
	said(problem_of(D(100), books), *values)


def test_a_statement_that_contradicts_itself_or_is_told_otherwise():
	one = SettlementLine("A-1", D(100), (("Komisi", D(10)),), D(85))
	other = replace(one, net=D(90))
	assert said(total_problem([one], None), "A-1", "-5").startswith(
		"Pesanan A-1: bruto 100 dikurangi biaya 10 adalah 90"
	)
	said(total_problem([other], D(80)), "80", "90", "-10")
	told = said(told_otherwise([other] * 7, [None, one, *[None] * 5]), "A-1", "85")
	assert (
		"A-1: dibukukan 100 dikurangi biaya 10 = 90, sekarang tidak ada di dalamnya; A-1: dibukukan" in told
	)
	assert "; dan 2 lagi. Bandingkan dengan bank." in told


def test_a_file_that_is_refused():
	columns = [
		("Nomor", SETTLEMENT_ID),
		("Tgl", PAID_AT),
		("Pesanan", ORDER_ID),
		("Neto", NET),
	]
	for text, words in (
		(
			"Nomor,Tgl,Pesanan,Neto\nS.1,2026-11-21,A,1.2.3x\n",
			"baris 2, Neto: 1.2.3x bukan nilai uang. Tulis seperti 1234567.89.",
		),
		("Nomor,Tgl,Pesanan,Neto\n,31-31-2026,A,1\n", "bukan tanggal. Tulis seperti"),
		(
			"Nomor,Tgl,Pesanan\nS.1,2026-11-21,A\n",
			"baris 1, Neto: kolom ini tidak ada; berkasnya punya: Nomor, Tgl, Pesanan.",
		),
		("", "Berkas ini kosong."),
	):
		with pytest.raises(PayoutFileError) as refused:
			read_file(text.encode(), columns, "IDR", UTC, 1_800_000_000.0)
		assert words in said(str(refused.value))


def test_settings_that_are_refused():
	rules = [
		Rule(S.OPEN, Action.INVOICE),
		Rule(S.OPEN, Action.STOCK_INVOICE),
		Rule(S.SHIPPED, Action.CANCEL),
	]
	rules += [
		Rule(S.SHIPPED, Action.CREDIT_NOTE),
		Rule(S.CANCELLED, Action.PAYMENT),
		Rule(S.DELIVERED, Action.SALES_ORDER),
	]
	for problem in check_rules(rules) + check_rules(
		[Rule(S.OPEN, Action.PAYMENT), Rule(S.RETURNED, Action.CREDIT_NOTE)]
	):
		said(problem)
	for rule in (
		SellableRule(-1, 101, -1, 1),
		SellableRule(0, 100, 2, 3),
		SellableRule(float("nan"), 1, 0, 0),
	):
		assert check_rule(rule)
		for problem in check_rule(rule):
			said(problem)


# -- stock ---------------------------------------------------------------------------------------------------------
def test_why_a_listing_is_not_in_sync():
	shop = Shop()
	store = shop.store(on=False, disabled_reason="Toko libur.")
	shop.items("A", "B")
	shop.stock("A", 3, 3)
	shop.listing(store, "A", 1, item="A", stocked=1)
	shop.listing(store, "B", 2, item="B")
	for item in ("A", "B"):
		[diagnosis] = why(shop.site, item, store)
		assert diagnosis.causes
		said(diagnosis.summary)
		for cause in diagnosis.causes:
			said(cause.next_step)
			said(cause.evidence, *([diagnosis.store_title] if cause.number == 7 else []))
		for what, value in diagnosis.facts:
			assert INDONESIAN.text(what) != what
			assert "never" not in INDONESIAN.text(value)


def test_what_a_dry_run_says():
	shop = Shop()
	store = shop.store()
	shop.items("A", "B", has_variants=1)
	shop.items("C", disabled=1)
	for number, item in enumerate(("A", "C", ""), 1):
		shop.listing(store, item or "no. such", number, item=item, stocked=1)
	for row in preview(shop.site, store):
		assert row.reason
		said(row.reason, row.item or "'no. such'")
	assert said(bound_reason(3, 7)) == "Marketplace saat ini menerima 3; Jumlah Dapat Dijual 7."
	told = INDONESIAN.text(near_note("sku 1", ["SKU 1", "Sku 1"]))
	assert told.startswith(
		"Tidak ada Item dengan kode yang persis 'sku 1'. Hampir sama: Item 'SKU 1' (berbeda pada"
	)
	assert "; Item 'Sku 1' (berbeda pada" in told and told.endswith("atau ganti nama Item menjadi 'sku 1'.")


def test_what_people_did_with_the_documents():
	told = INDONESIAN.text(
		"Sales Order SO-1 was cancelled by hand. Amend it, or press Retry to book the order again."
	)
	assert told.startswith("Order Penjualan SO-1 dibatalkan manual. Ubah (Amend), atau tekan Mencoba kembali")
	assert (
		INDONESIAN.text("Sales Order SO-1; Sales Invoice SI-2 (draft)")
		== "Order Penjualan SO-1; Faktur Penjualan SI-2 (draf)"
	)


# -- what is not the engine's ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
	"text",
	[
		"",
		"Item is locked at present",
		"Sales Invoice is not submitted. Order not found.",
		"Your order has been cancelled",
		"<b>{0}</b> \\1 %s",
		"Submit",
	],
)
def test_what_nobody_knows_is_left_alone(text: str):
	assert INDONESIAN.text(text) == text


def test_a_value_is_not_touched_and_not_escaped():
	assert INDONESIAN.text("Submit <b>{1}\\g<0></b>: its payment is booked then.") == (
		"Submit <b>{1}\\g<0></b>: setelah itu pembayarannya dibukukan."
	)


def test_sentences_and_lines_that_follow_each_other():
	text = "SI.1 is cancelled. Not posted yet.\nKata orang. Compare the two statements."
	assert (
		INDONESIAN.text(text)
		== "SI.1 sudah dibatalkan. Belum dibukukan.\nKata orang. Bandingkan kedua laporan."
	)


@pytest.mark.parametrize(
	"piece", ["is ", ". ", "a. ", ": ", " less fees ", "Clearing holds ", "; ", "{0} is {1}, "]
)
def test_no_text_takes_long(piece: str):
	began = time.perf_counter()
	for length in (1_000, 10_000):
		INDONESIAN.text(piece * (length // len(piece)))
	assert time.perf_counter() - began < 2


# -- the rows --------------------------------------------------------------------------------------------------------
def rows() -> list[tuple[str, str, str]]:
	with FILES["id"].open(encoding="utf-8", newline="") as file:
		return [(row[0], row[1], row[2]) for row in csv.reader(file) if row[2] in (ANYTHING, NAMES)]


def texts() -> Iterator[str]:
	"""Every text in the sources, with {} for what is filled in."""

	def text(node: ast.AST) -> list[str]:
		if isinstance(node, ast.Constant) and isinstance(node.value, str):
			return [re.sub(r"\{\d\}", "{}", node.value)]
		if isinstance(node, ast.IfExp):
			return text(node.body) + text(node.orelse)
		if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.IfExp):
			return text(node.value)
		parts = [node.left, node.right] if isinstance(node, ast.BinOp) else getattr(node, "values", None)
		if parts is None or isinstance(node, ast.BoolOp | ast.Dict):
			return ["{}"]
		return ["".join(each) for each in itertools.product(*map(text, parts))]

	for path in ROOT.rglob("*.py"):
		if not {"tests", "sandbox"} & set(path.relative_to(ROOT).parts):
			for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
				if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
					yield from text(node)


def test_every_row_is_a_sentence_that_the_sources_still_have():
	everything = "\0".join(set(texts()))

	def is_there(source: str) -> bool:
		source = re.sub(r"\{\d\}", "{}", source).rstrip(".;:!? ")
		# Put together from several texts: then its parts are there.
		return source in everything or all(part.strip(" ,:") in everything for part in source.split("{}"))

	assert [source for source, _said, _context in rows() if not is_there(source)] == []


def test_every_row_has_the_values_of_its_sentence_and_comes_out_itself():
	found = [source for source, _said, _context in rows()]
	assert sorted(found) == sorted(set(found))
	for source, translated, _context in rows():
		marks = set(re.findall(r"\{\d\}", source))
		assert marks == set(re.findall(r"\{\d\}", translated)), source
		# What is before or behind a value may be taken for it: then it must stay before or behind.
		for edge in (r"^\{\d\}", r"\{\d\}[.;:!? ]*$"):
			if found := re.search(edge, source):
				assert re.search(edge, translated)[0].rstrip(".;:!? ") == found[0].rstrip(".;:!? "), source

		def filled(text: str) -> str:
			return re.sub(r"\{(\d)\}", lambda mark: f"<{mark[1]}>", text)

		assert INDONESIAN.text(filled(source)).rstrip(".;:!? ") == filled(translated).rstrip(".;:!? "), source
