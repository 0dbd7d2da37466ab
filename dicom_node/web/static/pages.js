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
