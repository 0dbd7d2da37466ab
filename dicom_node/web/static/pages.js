// What every page does beside its links and forms: say when the node no longer answers.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const lost = document.getElementById("lost");
  if (lost === null) return;
  const show = (away) => { lost.hidden = !away; };
  document.body.addEventListener("htmx:sendError", () => show(true));
  document.body.addEventListener("htmx:timeout", () => show(true));
  document.body.addEventListener("htmx:afterOnLoad", () => show(false));
  document.body.addEventListener("htmx:responseError", () => show(true));
});

// What changes by itself is said once to who does not see it: a part that is replaced is no live region.
document.addEventListener("DOMContentLoaded", () => {
  const said = document.getElementById("said");
  const words = () => document.querySelector("[data-say]")?.dataset.say ?? "";
  let last = words();
  if (said === null) return;
  document.body.addEventListener("htmx:afterSettle", () => {
    if (words() !== last) said.textContent = last = words();
  });
});

// A double click is one click. Whoever comes back to a page may press its buttons again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.hasAttribute("hx-post")) return;
  if (form.dataset.sent !== undefined) event.preventDefault();
  form.dataset.sent = "";
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// A menu closes when something else is chosen.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
