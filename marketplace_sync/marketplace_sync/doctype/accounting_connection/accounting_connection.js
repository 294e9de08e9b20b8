const ACCOUNTING = "marketplace_sync.accounting_api.";

frappe.ui.form.on("Accounting Connection", {
	setup(frm) {
		const of_company = () => ({ company: frm.doc.company, is_group: 0, disabled: 0 });
		frm.set_query("account", "accounts", () => ({ filters: of_company() }));
		frm.set_query("warehouse", "warehouses", () => ({ filters: of_company() }));
		frm.set_query("store", "stores", () => ({ filters: { company: frm.doc.company } }));
	},

	service(frm) {
		offer_modes(frm, true);
	},

	mode(frm) {
		describe_credentials(frm);
	},

	refresh(frm) {
		const doc = frm.doc;
		offer_modes(frm);
		describe_credentials(frm);
		// Frappe leaves the description of a Datetime as it is.
		frm.set_df_property(
			"connected_at",
			"description",
			__("Invoices of orders that were placed from this moment on are sent.")
		);
		frm.set_df_property("service", "read_only", frm.is_new() ? 0 : 1);
		frm.set_df_property("company", "read_only", doc.database_id ? 1 : 0);
		frm.fields_dict.invoices_status.$wrapper.empty();
		frm.fields_dict.checklist.$wrapper.empty();
		if (frm.is_new()) {
			frm.fields_dict.checklist.$wrapper.html(
				`<div class="alert alert-info">${__(
					"Choose the service and how to connect, enter what it gave you, and save. A checklist leads on from there."
				)}</div>`
			);
			return;
		}
		add_buttons(frm);
		load(frm);
	},
});

frappe.ui.form.on("Accounting Warehouse", {
	warehouses_add(frm, cdt, cdn) {
		// New books have no stock yet: taking it over would empty ERPNext.
		if (frm.doc.course === "ERPNext") frappe.model.set_value(cdt, cdn, "pull_stock", 0);
	},
});

const esc = (value) => frappe.utils.escape_html(String(value ?? ""));
const may_write = (frm) => frm.perm[0] && frm.perm[0].write;
const call = (frm, method, args) => frappe.xcall(ACCOUNTING + method, { connection: frm.doc.name, ...args });
const is_here = (frm) => frappe.get_route_str() === `Form/Accounting Connection/${frm.doc.name}`;

function offer_modes(frm, usual) {
	frappe.xcall(ACCOUNTING + "services").then((services) => {
		const modes = services[frm.doc.service];
		if (!modes) return;
		frm.set_df_property("mode", "options", modes);
		if (usual || !modes.includes(frm.doc.mode)) frm.set_value("mode", modes[0]);
	});
}

function describe_credentials(frm) {
	const { callback } = overview_of(frm);
	const is_oauth = frm.doc.mode === "OAuth";
	frm.set_df_property(
		"client_id",
		"description",
		is_oauth && callback
			? __("Enter this as the app's callback address in the service: {0}", [
					`<span style="word-break: break-all">${esc(callback)}</span>`,
			  ])
			: ""
	);
	frm.set_df_property(
		"client_secret",
		"description",
		frm.doc.mode === "API Token" ? __("Here: the application's signature secret.") : ""
	);
}

function add_buttons(frm) {
	const view = (label, doctype) =>
		frm.add_custom_button(
			label,
			() => frappe.set_route("List", doctype, { connection: frm.doc.name }),
			__("View", null, "Accounting Connection")
		);
	if (may_write(frm)) {
		const group = __("Service", null, "Accounting Connection");
		frm.add_custom_button(__("Connect"), () => act.connect(frm), group);
		if (frm.doc.database_id) {
			frm.add_custom_button(__("Read Lists"), () => act.read_lists(frm), group);
			frm.add_custom_button(__("Disconnect"), () => act.disconnect(frm), group);
			frm.add_custom_button(__("Sync Items"), () => act.items(frm), __("Sync"));
			frm.add_custom_button(__("Sync Stock"), () => act.stock(frm), __("Sync"));
			frm.add_custom_button(__("Add the Stores' Accounts"), () => act.add_accounts(frm), __("Mapping"));
		} else {
			frm.add_custom_button(__("Choose Database"), () => act.database(frm), group);
		}
	}
	view(__("Documents", null, "Accounting Connection"), "Accounting Document");
	view(__("Items", null, "Accounting Connection"), "Accounting Item");
	view(__("Stock In"), "Accounting Stock In");
}

// -- what a step does ------------------------------------------------------------------------------------------
const act = {
	connect(frm) {
		unless_dirty(frm, () =>
			call(frm, "connect").then((answer) => {
				if (answer.url) {
					window.open(answer.url, "_blank", "noopener");
					frappe.show_alert(__("Log in at {0} as the owner, in the new tab.", [esc(frm.doc.service)]));
					if (overview_of(frm).next === "connect") wait_for_consent(frm);
				} else choose(frm, answer);
			})
		);
	},

	database(frm) {
		unless_dirty(frm, () => call(frm, "databases").then((answer) => choose(frm, answer)));
	},

	mapping(frm) {
		frm.layout.tabs.find((tab) => tab.df.fieldname === "mapping_tab").set_active();
	},

	read_lists(frm) {
		const before = overview_of(frm).lists.at;
		call(frm, "read_lists").then(() => {
			frappe.show_alert(__("The accounts and warehouses are being read."));
			watch(frm, (told) => told.lists.error || told.lists.at > before);
		});
	},

	items(frm) {
		const before = overview_of(frm).items.at;
		call(frm, "compare_items").then(() => {
			frappe.show_alert(__("The items are being compared: nothing is sent yet."));
			watch(
				frm,
				(told) => told.items.error || told.items.at > before,
				(told) => !told.items.error && show_items(frm)
			);
		});
	},

	stock(frm) {
		const told = overview_of(frm);
		if (told.stock.open && told.stock.open.state === "Preview")
			return frappe.set_route("Form", "Accounting Stock In", told.stock.open.name);
		call(frm, "read_stock").then(() => {
			frappe.show_alert(__("The stock is being read: nothing is booked yet."));
			watch(
				frm,
				(now) => now.stock.error || now.stock.at > told.stock.at || (now.stock.open || {}).state === "Preview",
				(now) => now.stock.open && frappe.set_route("Form", "Accounting Stock In", now.stock.open.name)
			);
		});
	},

	opening(frm) {
		act.ready(frm);
	},

	ready(frm) {
		unless_dirty(frm, () =>
			frappe.confirm(
				__("Invoices of orders that were placed after {0} are sent to {1} from now on. Go on?", [
					esc(frappe.datetime.str_to_user(frm.doc.connected_at)),
					`<b>${esc(frm.doc.database_name)}</b>`,
				]),
				() => frm.set_value("send_invoices", 1).then(() => frm.save())
			)
		);
	},

	disconnect(frm) {
		unless_dirty(frm, () =>
			frappe.confirm(
				`${__("Disconnect {0}?", [`<b>${esc(frm.doc.database_name)}</b>`])}<ul class="mt-3">
				<li>${__("Nothing is sent to it any more; what waits is not sent.")}</li>
				<li>${__("What is there already stays there: it is neither paid nor deleted from here any more.")}</li>
				<li>${__("Items have to be compared again with the next database.")}</li>
				<li>${__("Only orders that are placed after the next connection are sent, also when it is the same database.")}</li>
				</ul><p>${__("To stop for a while only, untick Send Invoices.")}</p>`,
				() => call(frm, "disconnect").then(() => frm.reload_doc())
			)
		);
	},

	add_accounts(frm) {
		if (!(frm.doc.stores || []).length)
			return frappe.msgprint(__("Stores: add those whose invoices go to these books."));
		unless_dirty(frm, () =>
			call(frm, "missing_accounts").then((missing) => {
				for (const one of missing) frm.add_child("accounts", { account: one.account });
				frm.refresh_field("accounts");
				act.mapping(frm);
				if (!missing.length) return frappe.show_alert(__("All accounts of the stores are mapped."));
				frappe.show_alert(
					__("Added: {0}. Choose what each is in {1}, then save.", [
						missing.map(account_and_use).join(", "),
						esc(frm.doc.service),
					]),
					20
				);
			})
		);
	},
};

function unless_dirty(frm, then) {
	if (frm.is_dirty()) frappe.msgprint(__("Save first."));
	else then();
}

function choose(frm, answer) {
	if (answer.database !== undefined) {
		frappe.show_alert({ message: __("Connected: {0}", [esc(answer.database)]), indicator: "green" });
		return frm.reload_doc().then(() => watch(frm, (told) => told.lists.error || told.lists.at));
	}
	frappe.prompt(
		[
			{
				fieldname: "database_id",
				fieldtype: "Select",
				label: __("Database"),
				options: answer.databases.map((one) => ({ value: one.id, label: esc(`${one.name} (${one.id})`) })),
				reqd: 1,
				description: __("Invoices of orders that are placed from now on go to it."),
			},
		],
		(values) => call(frm, "choose_database", values).then((chosen) => choose(frm, chosen)),
		__("Choose Database"),
		__("Choose")
	);
}

const account_and_use = ({ account, purposes }) =>
	`${esc(account)} (${purposes.map((purpose) => __(purpose)).join(", ")})`;

// The browser comes back in the other tab: this one shows the step that was next when it was left.
function wait_for_consent(frm) {
	const { name } = frm.doc;
	const ends = Date.now() + 15 * 60 * 1000;
	const look = () => {
		if (frm.doc.name !== name || Date.now() > ends) return;
		if (!is_here(frm) || document.hidden) return setTimeout(look, 3000);
		call(frm, "overview").then((told) => {
			if (told.next === "connect") setTimeout(look, 3000);
			else if (!frm.is_dirty()) frm.reload_doc();
		});
	};
	setTimeout(look, 3000);
}

// Jobs end in the background: look until one has, for as long as the form is open.
function watch(frm, is_over, then) {
	const look = () =>
		is_here(frm) &&
		load(frm).then((told) => {
			if (!is_over(told)) return setTimeout(look, 3000);
			if (then) then(told);
		});
	setTimeout(look, 1500);
}

// -- the checklist -------------------------------------------------------------------------------------------------
const overviews = {};
const overview_of = (frm) => overviews[frm.doc.name] || { lists: {}, items: {}, stock: {}, backlog: {} };

function load(frm) {
	const name = frm.doc.name;
	return call(frm, "overview").then((told) => {
		overviews[name] = told;
		if (frm.doc.name === name) show(frm, told);
		return told;
	});
}

function show(frm, told) {
	offer_lists(frm, told.lists);
	describe_credentials(frm);
	show_checklist(frm, told);
	show_backlog(frm, told);
	const list = frappe.listview_settings[frm.doctype];
	if (list) {
		list.statuses[frm.doc.name] = { ...told, attention: told.backlog.attention };
		frm.toolbar.set_indicator();
	}
}

function step_texts(frm, told) {
	const doc = frm.doc;
	const service = esc(doc.service);
	const missing = told.missing_accounts.filter((one) => one.needed).map(account_and_use);
	const others = told.missing_accounts.filter((one) => !one.needed).map(account_and_use);
	const mapping = [];
	if (!(doc.stores || []).length) mapping.push(__("Stores: add those whose invoices go to these books."));
	if (told.needs_branch) mapping.push(__("Branch: choose the one whose documents these are."));
	if (missing.length) mapping.push(__("Accounts that every payment needs: {0}", [missing.join(", ")]));
	if (others.length)
		mapping.push(__("Not mapped, and missed by orders only that have such an amount: {0}", [others.join(", ")]));
	if (doc.course !== "ERPNext" && !(doc.warehouses || []).some((row) => row.pull_stock))
		mapping.push(__("Warehouses: add those whose stock is kept in {0}, and tick Stock In.", [service]));
	const items = told.items.at
		? __("{0} linked, {1} new, {2} with a conflict. Compared: {3}", [
				told.items.linked,
				told.items.new,
				told.items.conflicts,
				marketplace_sync.time(told.items.at),
		  ]) + ` <a class="underline show-items">${__("Show them")}</a>`
		: "";
	const last = told.stock.last;
	const stock = last
		? `${__("Last time: {0} booked, {1} left for the next run. {2}", [
				cint(last.booked),
				cint(last.left_out),
				esc(frappe.datetime.str_to_user(last.began_at)),
		  ])} <a class="underline" href="${esc(frappe.utils.get_form_link("Accounting Stock In", last.name))}">${__("Show them")}</a>`
		: "";
	return {
		connect: {
			title: __("Connect"),
			button: __("Connect"),
			text:
				doc.mode === "OAuth"
					? __("The owner logs in at {0} and allows us.", [service])
					: __("The credentials are tried at {0}.", [service]),
		},
		database: {
			title: __("Choose the database"),
			button: __("Choose Database"),
			text: doc.database_id
				? __("{0}. Invoices of orders that were placed after {1} are sent.", [
						`<b>${esc(doc.database_name)}</b>`,
						esc(frappe.datetime.str_to_user(doc.connected_at)),
				  ])
				: __("One set of books for one company. Another one later means disconnecting first."),
		},
		mapping: {
			title: __("Map accounts and warehouses"),
			button: __("Open the Mapping"),
			text: mapping.join("<br>"),
		},
		items: {
			title: doc.course === "ERPNext" ? __("Send items") : __("Sync items"),
			button: __("Sync Items"),
			text:
				items ||
				(doc.course === "ERPNext"
					? __("The items of the stores are compared, then created in {0}.", [service])
					: __("Items here and in {0} find each other by their SKU.", [service])),
		},
		stock: {
			title: __("Sync stock"),
			button: (told.stock.open || {}).state === "Preview" ? __("Look at the Differences") : __("Sync Stock"),
			text:
				stock ||
				__("The stock of {0} becomes ERPNext's. The differences are shown before they are booked.", [service]),
		},
		opening: {
			title: __("Enter the opening stock in {0}", [service]),
			button: __("It Is Entered: Send Invoices"),
			text:
				__(
					"Item by item and warehouse by warehouse, as ERPNext's report Stock Balance shows it now. Invoices cut it from then on."
				) +
				(told.backlog.waiting && !told.sending
					? `<br>${__("{0} documents wait already: add the units of these invoices to the opening stock.", [
							cint(told.backlog.waiting),
					  ])}`
					: ""),
		},
		ready: {
			title: __("Ready: send invoices"),
			button: __("Send Invoices"),
			text: told.sending
				? __("Invoices are sent as the stores' orders are booked.")
				: __("Nothing is sent before. Invoices are paid at: {0}. Decide it now, in the tab Invoices.", [
						__(doc.receipts_at, null, "Accounting Connection"),
				  ]),
		},
	};
}

function show_checklist(frm, told) {
	const texts = step_texts(frm, told);
	const alarms = [];
	if (told.stopped) alarms.push(["danger", __("Stopped: {0}", [esc(told.stopped)])]);
	if (told.blocked_until)
		alarms.push(["warning", `${esc(told.blocked_reason)} (${marketplace_sync.time(told.blocked_until)})`]);
	if (frm.doc.database_id && !told.connected)
		alarms.push(["warning", __("The credentials were changed: press Connect, so that they are tried.")]);
	for (const [error, text] of [
		[told.lists.error, __("Accounts and warehouses could not be read: {0}", [esc(told.lists.error)])],
		[told.items.error, __("Items could not be compared: {0}", [esc(told.items.error)])],
		[told.stock.error, __("Stock could not be read: {0}", [esc(told.stock.error)])],
	])
		if (error) alarms.push(["warning", text]);
	if (told.backlog.attention)
		alarms.push([
			"warning",
			`${__("{0} documents need you.", [cint(told.backlog.attention)])} <a class="underline show-attention">${__("Show them")}</a>`,
		]);
	if (told.late && told.sending && told.connected && !told.stopped)
		alarms.push([
			"warning",
			__("{0} has been waiting since {1}: {2}", [
				esc(told.late.number),
				marketplace_sync.time(told.late.since),
				esc(told.late.reason),
			]),
		]);
	const rows = told.steps
		.map((step, at) => {
			const { title, text, button } = texts[step.key];
			const is_next = told.next === step.key;
			const mark = step.done
				? `<span class="indicator-pill no-indicator-dot green">${__("Done", null, "Accounting Connection")}</span>`
				: is_next
				? `<span class="indicator-pill no-indicator-dot orange">${__("Next")}</span>`
				: `<span class="indicator-pill no-indicator-dot gray">${__("Later")}</span>`;
			const press =
				is_next && may_write(frm)
					? `<button class="btn btn-primary btn-xs" data-step="${step.key}">${button}</button>`
					: "";
			return `<div class="d-flex py-2 border-top" data-row="${step.key}">
				<div style="flex: 0 0 2rem" class="text-muted">${at + 1}</div>
				<div style="flex: 0 0 7rem">${mark}</div>
				<div class="flex-grow-1"><div class="${is_next ? "bold" : ""}">${title}</div>
				<div class="small text-muted">${text || ""}</div></div><div class="ml-3">${press}</div></div>`;
		})
		.join("");
	const wrapper = frm.fields_dict.checklist.$wrapper;
	wrapper.html(
		alarms.map(([kind, text]) => `<div class="alert alert-${kind} py-2">${text}</div>`).join("") +
			`<div class="frappe-card p-3 mb-3">
			<div class="mb-2"><b>${told.next ? __("Checklist") : __("All set up")}</b></div>${rows}</div>`
	);
	wrapper.find(".show-items").on("click", () => show_items(frm));
	wrapper.find("[data-step]").on("click", function () {
		act[$(this).data("step")](frm);
	});
	wrapper
		.find(".show-attention")
		.on("click", () =>
			frappe.set_route("List", "Accounting Document", { connection: frm.doc.name, state: "Needs Attention" })
		);
}

// -- lists of the service, offered in the mapping ----------------------------------------------------------------
function offer_lists(frm, lists) {
	if (frm.lists_offered === `${frm.doc.name} ${lists.at}`) return; // somebody may be typing in the grid
	frm.lists_offered = `${frm.doc.name} ${lists.at}`;
	// Frappe shows these as HTML, and in the input as they are.
	const plain = (text) => text.replace(/[<>]/g, "");
	const accounts = lists.accounts.map((one) => ({
		value: one.key,
		label: plain(one.name.includes(one.key) ? one.name : `${one.key} ${one.name}`),
		description: plain(one.kind),
	}));
	const warehouses = lists.warehouses.map((one) => ({ value: one.key, label: plain(one.key) }));
	for (const [table, field, options] of [
		["accounts", "service_account", accounts],
		["warehouses", "service_warehouse", warehouses],
	]) {
		const grid = frm.fields_dict[table].grid;
		grid.update_docfield_property(field, "options", options);
		grid.update_docfield_property(field, "max_items", 500);
	}
	const branches = lists.branches.map((one) => ({ value: one.key, label: plain(one.key) }));
	frm.set_df_property("branch", "options", branches);
	frm.fields_dict.branch.set_data(branches); // its input may be there already
	frm.toggle_display("branch", branches.length > 1 || Boolean(frm.doc.branch));
	const known = Object.fromEntries(accounts.map((one) => [one.value, one.label]));
	const shown_as = (doctype, field, formatter) => {
		const df = frappe.meta.get_docfield(doctype, field, frm.doc.name);
		if (df) df.formatter = formatter;
	};
	shown_as("Accounting Account", "service_account", (value) => esc(known[value] || value || ""));
	shown_as("Accounting Warehouse", "service_warehouse", (value) => esc(value));
	frm.refresh_field("accounts");
	frm.refresh_field("warehouses");
}

// -- what waits ------------------------------------------------------------------------------------------------------
function show_backlog(frm, told) {
	const backlog = told.backlog;
	const cards = [
		["Needs Attention", __("Needing Attention"), backlog.attention, "btn-warning"],
		["Waiting", __("Waiting"), backlog.waiting, "btn-default"],
		["Sent", __("Sent"), backlog.sent, "btn-default"],
	]
		.map(
			([state, label, count, kind]) =>
				`<a class="btn ${count ? kind : "btn-default"} btn-sm mr-2 mb-2" data-state="${state}">${label} <b>${cint(
					count
				)}</b></a>`
		)
		.join("");
	const facts = [
		__("at most {0} calls a minute", [backlog.calls_per_minute]),
		__("{0} calls this month", [cint(told.calls.month)]),
	];
	if (told.calls.stock_month)
		facts.push(
			__("Sync Stock takes about {0} calls a month, {1} each time", [told.calls.stock_month, told.calls.stock])
		);
	if (backlog.waiting)
		facts.unshift(
			told.sending && told.connected && !told.stopped
				? __("{0} documents wait; all are sent by {1} if nothing goes wrong", [
						backlog.waiting,
						marketplace_sync.time(backlog.ends_at),
				  ])
				: __("{0} documents wait until invoices are sent", [backlog.waiting])
		);
	const wrapper = frm.fields_dict.invoices_status.$wrapper;
	wrapper.html(`<div class="mt-3">${cards}</div><p class="text-muted small">${facts.join(" · ")}</p>`);
	wrapper.find("a[data-state]").on("click", function () {
		frappe.set_route("List", "Accounting Document", { connection: frm.doc.name, state: $(this).data("state") });
	});
}

// -- items -----------------------------------------------------------------------------------------------------------
function show_items(frm) {
	call(frm, "items").then(({ counts, rows }) => {
		const count = (state) => cint(counts[state]);
		const colours = { New: "blue", Sending: "orange", Conflict: "red" };
		const shown = rows.map((row) => [
			`<span class="indicator-pill ${colours[row.state]}">${__(row.state)}</span>`,
			row.item ? `<a href="${esc(frappe.utils.get_form_link("Item", row.item))}">${esc(row.item)}</a>` : esc(row.sku),
			// A new one's name is the one that it would get.
			row.state === "New" ? "" : esc([row.service_sku, row.service_name].filter(Boolean).join(" ")),
			row.state === "New" ? esc(__("Would be created as {0}", [row.service_name])) : esc(row.reason),
		]);
		const total = count("New") + count("Sending") + count("Conflict");
		const dialog = new frappe.ui.Dialog({
			title: __("Items by the Last Comparison"),
			size: "extra-large",
			fields: [{ fieldname: "answer", fieldtype: "HTML" }],
		});
		dialog.fields_dict.answer.$wrapper.html(
			`<p>${__("{0} are the same on both sides, {1} are missing in {2}, {3} need you first.", [
				`<b>${count("Linked")}</b>`,
				`<b>${count("New")}</b>`,
				esc(frm.doc.service),
				`<b>${count("Conflict")}</b>`,
			])}</p>` +
				(total > rows.length
					? `<p class="text-muted">${__("The first {0} of {1}.", [rows.length, total])}</p>`
					: "") +
				(shown.length
					? marketplace_sync.table([__("State", null, "Accounting Item"), __("Item"), __("In the Service"), __("Reason")], shown)
					: "")
		);
		if (count("New") && may_write(frm))
			dialog.set_primary_action(__("Create {0} Items There", [count("New")]), () => {
				dialog.hide();
				const before = overview_of(frm).items.at;
				call(frm, "send_items").then(() => {
					frappe.show_alert(__("The items are being created."));
					watch(frm, (told) => told.items.error || (told.items.at > before && !told.items.new));
				});
			});
		dialog.show();
	});
}
