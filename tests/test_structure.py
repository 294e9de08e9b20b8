"""The shape of the project: what may import what, and that names in data files lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
APP = ROOT / "marketplace_sync"
MODULE = APP / "marketplace_sync"
PURE = ("coordination", "availability", "stock", "listings", "orders", "accounting", "connectors", "sandbox")
"""Packages that know nothing of Frappe; besides them all of `sites` but the Frappe host's own, and single files."""
PURE_FILES = (
	"__init__.py",
	"demo.py",
	"words.py",
	*(
		f"sites/{path.name}"
		for path in sorted((APP / "sites").glob("*.py"))
		if not path.name.startswith("frappe_")
	),
)
SANDBOX_MAY_IMPORT = "marketplace_sync.sandbox"


def imports(path: Path) -> Iterator[str]:
	"""Full names of what a file imports, wherever in it the import stands."""
	package = path.relative_to(ROOT).parent.parts
	for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
		if isinstance(node, ast.Import):
			yield from (alias.name for alias in node.names)
		elif isinstance(node, ast.ImportFrom):
			base = package[: len(package) - node.level + 1] if node.level else ()
			prefix = ".".join([*base, *filter(None, [node.module])])
			yield prefix
			yield from (f"{prefix}.{alias.name}" for alias in node.names)


def pure_files() -> list[Path]:
	files = [APP / name for name in PURE_FILES]
	for package in PURE:
		files += sorted((APP / package).rglob("*.py"))
	return files


def test_the_search_for_imports_sees_them(tmp_path: Path):
	source = APP / "sites" / "frappe_site.py"
	assert "frappe" in imports(source)
	assert "marketplace_sync.sites.port.Store" in imports(source)


@pytest.mark.parametrize("path", pure_files(), ids=lambda path: str(path.relative_to(APP)))
def test_pure_code_imports_no_frappe(path: Path):
	assert not [name for name in imports(path) if name.split(".")[0] in ("frappe", "erpnext")]


@pytest.mark.parametrize("path", sorted((APP / "connectors").glob("*.py")), ids=lambda path: path.name)
def test_a_connector_knows_nothing_of_the_engine(path: Path):
	own = [name for name in imports(path) if name.startswith("marketplace_sync.")]
	assert not [name for name in own if not name.startswith("marketplace_sync.connectors")]


@pytest.mark.parametrize("path", sorted((APP / "sandbox").glob("*.py")), ids=lambda path: path.name)
def test_the_sandbox_shares_nothing_with_what_it_judges(path: Path):
	own = [name for name in imports(path) if name.split(".")[0] == "marketplace_sync"]
	assert not [
		name for name in own if not name.startswith(SANDBOX_MAY_IMPORT) and name != "marketplace_sync"
	]


def module_file(dotted: str) -> Path | None:
	path = ROOT.joinpath(*dotted.split("."))
	for candidate in (path.with_suffix(".py"), path / "__init__.py"):
		if candidate.exists():
			return candidate
	return None


def defines(path: Path, name: str) -> bool:
	tree = ast.parse(path.read_text(encoding="utf-8"))
	return any(getattr(node, "name", None) == name for node in tree.body)


def test_every_patch_is_there():
	text = (APP / "patches.txt").read_text(encoding="utf-8")
	lines = [line.split("#")[0].strip() for line in text.splitlines()]
	for line in lines:
		if line and not line.startswith(("[", "execute:")):
			path = module_file(line.split()[0])
			assert path, f"patches.txt: {line}"
			assert defines(path, "execute"), f"{line} has no execute()"


def dotted_strings(value: object) -> Iterator[str]:
	if isinstance(value, str):
		if value.startswith("marketplace_sync."):
			yield value
	elif isinstance(value, dict):
		for key, inner in value.items():
			yield from dotted_strings(key)
			yield from dotted_strings(inner)
	elif isinstance(value, (list, tuple)):
		for inner in value:
			yield from dotted_strings(inner)


def hooks() -> dict[str, object]:
	scope: dict[str, object] = {}
	source = (APP / "hooks.py").read_text(encoding="utf-8")
	exec(compile(source, "hooks.py", "exec"), scope)
	return {name: value for name, value in scope.items() if not name.startswith("_")}


def test_every_hook_leads_to_a_function():
	found = [name for value in hooks().values() for name in dotted_strings(value)]
	assert len(found) > 10
	for dotted in found:
		module, _, function = dotted.rpartition(".")
		path = module_file(module)
		assert path, f"hooks.py: there is no module {module}"
		assert defines(path, function), f"hooks.py: {module} has no {function}"


def test_every_script_named_by_a_hook_is_there():
	for name in ("doctype_js", "doctype_list_js", "page_js"):
		for value in dict(hooks().get(name) or {}).values():
			for path in [value] if isinstance(value, str) else value:
				assert (APP / path).exists(), f"hooks.py: {name}: {path}"


def metas() -> list[tuple[Path, dict]]:
	paths = sorted((MODULE / "doctype").glob("*/*.json"))
	return [(path, json.loads(path.read_text(encoding="utf-8"))) for path in paths]


@pytest.mark.parametrize(
	("path", "meta"), metas(), ids=lambda value: value.stem if isinstance(value, Path) else ""
)
def test_a_doctype_and_its_controller_belong_together(path: Path, meta: dict):
	scrubbed = meta["name"].lower().replace(" ", "_")
	assert path.stem == path.parent.name == scrubbed
	assert meta["module"] == "Marketplace Sync"
	controller = path.with_suffix(".py")
	assert defines(controller, meta["name"].replace(" ", "")), controller
	assert (path.parent / "__init__.py").exists()
	names = [field["fieldname"] for field in meta["fields"]]
	assert names == list(dict.fromkeys(names)), "a fieldname is there twice"
	assert meta["field_order"] == names
	# The controller's declared types are those of the JSON.
	declared = controller.read_text(encoding="utf-8")
	if "begin: auto-generated types" in declared:
		for field in meta["fields"]:
			if field["fieldtype"] not in ("Section Break", "Column Break", "Tab Break", "HTML", "Button"):
				assert f"{field['fieldname']}: DF." in declared, f"{controller.name}: {field['fieldname']}"


def test_links_lead_to_doctypes_that_exist():
	ours = {meta["name"] for _path, meta in metas()}
	theirs = {"Customer", "Company", "Item", "UOM", "Warehouse", "User", "Address", "Role", "DocType"}
	theirs |= {
		"Sales Order",
		"Sales Invoice",
		"Payment Entry",
		"Journal Entry",
		"Account",
		"Cost Center",
		"Currency",
		"Stock Reconciliation",
	}
	for path, meta in metas():
		for field in meta["fields"]:
			if field["fieldtype"] in ("Link", "Table", "Table MultiSelect"):
				assert field["options"] in ours | theirs, (
					f"{path.name}: {field['fieldname']} -> {field['options']}"
				)


def test_modules_txt_names_the_module():
	assert (APP / "modules.txt").read_text(encoding="utf-8").split("\n")[0].strip() == "Marketplace Sync"


def test_the_command_line_can_be_imported_without_frappe():
	assert importlib.util.find_spec("frappe") is None, "this test is about an environment without Frappe"
	from marketplace_sync.commands import commands

	assert [command.name for command in commands] == ["marketplace-sync"]


def test_a_connector_can_be_chosen_in_the_settings():
	from marketplace_sync.connectors import CONNECTORS

	path = MODULE / "doctype/customer_marketplace_settings/customer_marketplace_settings.json"
	fields = {field["fieldname"]: field for field in json.loads(path.read_text(encoding="utf-8"))["fields"]}
	assert fields["marketplace"]["options"].split("\n") == list(CONNECTORS)


LAYERS = ("coordination", "availability", "listings", "orders", "stock")
"""The engine, from below: each may import those before it."""


@pytest.mark.parametrize(
	("package", "not_of"),
	[
		*((package, (*LAYERS[at + 1 :], "accounting", "erpnext")) for at, package in enumerate(LAYERS)),
		("accounting", ("orders", "stock", "erpnext")),
	],
)
def test_a_package_imports_none_above_it(package: str, not_of: tuple[str, ...]):
	files = sorted((APP / package).glob("*.py"))
	assert len(files) > 1
	found = {name for path in files for name in imports(path)}
	assert not [
		name for name in found if name.startswith(tuple(f"marketplace_sync.{one}." for one in not_of))
	]


DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_files_and_tests_that_a_document_names_are_there(path: Path):
	text = path.read_text(encoding="utf-8")
	everywhere = [
		file for folder in (APP, ROOT / "tests", ROOT / "benchmarks") for file in folder.rglob("*.py")
	]
	for name in re.findall(r"`([\w/]+\.py)`", text):
		to_be_written = "yours" in name
		assert to_be_written or any(f"/{name}" in f"/{file.relative_to(ROOT)}" for file in everywhere), (
			f"there is no {name}"
		)
	functions = {
		name for file in everywhere for name in re.findall(r"def (test_\w+)\(", file.read_text("utf-8"))
	}
	for name in re.findall(r"`(test_\w+)`", text):
		assert name in functions, f"there is no {name}"
