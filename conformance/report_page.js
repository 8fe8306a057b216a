"use strict";

/* A link to a line of the ledger opens it, and what it is in. */
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let each = target; each; each = each.parentElement) {
    if (each instanceof HTMLDetailsElement) each.open = true;
  }
  if (target) target.scrollIntoView();
}

/* Show the rows that have all the words. */
function filter() {
  const words = wanted.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...document.querySelectorAll("tr[data-words]")];
  for (const row of rows) row.hidden = !words.every((word) => row.dataset.words.includes(word));
  shown.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
}

/* A page that is a file may have no clipboard: then the command is selected. */
async function copy(button) {
  const command = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(command.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(command);
    button.textContent = "Selected";
  }
}

const wanted = document.getElementById("wanted");
const shown = document.getElementById("shown");
wanted.addEventListener("input", filter);
addEventListener("hashchange", openTarget);
for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", () => copy(button));
if (location.hash) openTarget();
