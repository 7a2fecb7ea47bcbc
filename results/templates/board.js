"use strict";
// Theme, sorting and filtering. Pages are whole without it: nothing is hidden, nothing is fetched.

const root = document.documentElement;
const THEME = "retain-theme";

function stored() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null; // storage may be switched off
  }
}

if (["light", "dark"].includes(stored())) {
  root.dataset.theme = stored(); // before the body is drawn
}

function isDark() {
  const preferred = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  return (root.dataset.theme ?? preferred) === "dark";
}

function addTheme(button) {
  const name = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem(THEME, root.dataset.theme);
    } catch {
      // it holds for this page alone
    }
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();
  button.hidden = false;
}

function keyOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? cell.textContent.trim();
  const number = Number(text);
  return { text, number, isNumber: text !== "" && !Number.isNaN(number) };
}

function compare(one, other) {
  if (one.isNumber && other.isNumber) return one.number - other.number;
  return one.text.localeCompare(other.text, "en", { numeric: true });
}

function sort(table, header, direction) {
  const column = header.cellIndex;
  const sign = direction === "ascending" ? 1 : -1;
  for (const body of table.tBodies) {
    const keyed = [...body.rows].map((row) => ({ row, key: keyOf(row, column) }));
    keyed.sort((a, b) => {
      const lacking = (a.key.text === "") - (b.key.text === ""); // what has no value stands last both ways
      return lacking || sign * compare(a.key, b.key);
    });
    body.append(...keyed.map(({ row }) => row));
  }
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
}

function addSorting(table) {
  for (const button of table.querySelectorAll("thead .sort")) {
    const header = button.closest("th");
    button.addEventListener("click", () => {
      const now = header.getAttribute("aria-sort");
      const first = button.dataset.first ?? "ascending";
      const turned = now === "ascending" ? "descending" : "ascending";
      sort(table, header, now === null ? first : turned);
    });
  }
}

function accepts(item, name, wanted) {
  const own = item.dataset[name] ?? item.closest("[data-group]")?.dataset[name];
  if (wanted === "" || own === undefined) return true;
  if (name === "memory") return own !== "" && Number(own) <= Number(wanted);
  if (name === "strategy") return own.toLowerCase().includes(wanted.trim().toLowerCase());
  return own === wanted;
}

function addFilters(form) {
  const fields = [...form.querySelectorAll("[data-filter]")];
  const items = [...document.querySelectorAll("[data-item]")];
  const groups = [...document.querySelectorAll("[data-group]")];
  const shown = document.getElementById("shown");
  const apply = () => {
    for (const item of items) {
      item.hidden = !fields.every((field) => accepts(item, field.dataset.filter, field.value));
    }
    for (const group of groups) group.hidden = !group.querySelector("[data-item]:not([hidden])");
    const left = items.filter((item) => !item.hidden).length;
    shown.textContent = `${left} of ${items.length} rows`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}

document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  if (button) addTheme(button);
  for (const table of document.querySelectorAll("table.sortable")) addSorting(table);
  const form = document.getElementById("filters");
  if (form) addFilters(form);
});
