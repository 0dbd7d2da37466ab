// Slices by slider, wheel and keys. Without this script the form asks for one slice at a time.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("slicer");
  if (form === null) return;
  const image = document.getElementById("slice-image");
  const failed = document.getElementById("slice-failed");
  const slider = document.getElementById("slice");
  const text = document.getElementById("slice-text");
  const stage = form.querySelector(".stage-image");
  const centre = form.elements.namedItem("centre");
  const width = form.elements.namedItem("width");
  const outlines = document.getElementById("outlines"); // absent where no finding is located
  const outlinedText = document.getElementById("outlined");
  const outlined = JSON.parse(form.dataset.outlined); // names of findings by slice
  const count = Number(form.dataset.count);
  const KEPT = 80;
  const pictures = new Map(); // address -> promise of an object URL, the last used at the end
  let wanted = image.getAttribute("src");

  form.classList.add("scripted");
  stage.tabIndex = 0;
  stage.setAttribute("role", "group");
  stage.setAttribute("aria-labelledby", "slice-text");

  const chosen = () => form.querySelector("input[name=window]:checked");
  const looked = (number) => (outlines !== null && outlines.checked && outlined[number]) || "";
  const address = (number) =>
    `${form.dataset.source}${number}.png?window=${chosen().value}` +
    `&centre=${encodeURIComponent(centre.value)}&width=${encodeURIComponent(width.value)}` +
    (looked(number) ? "&outlines=true" : "");

  const load = (url) => {
    let picture = pictures.get(url);
    pictures.delete(url);
    if (picture === undefined) {
      picture = fetch(url).then(async (response) => {
        if (!response.ok) throw new Error(String(response.status));
        return URL.createObjectURL(await response.blob());
      });
      picture.catch(() => pictures.delete(url));
    }
    pictures.set(url, picture);
    while (pictures.size > KEPT) {
      const [oldest, old] = pictures.entries().next().value;
      pictures.delete(oldest);
      old.then((made) => URL.revokeObjectURL(made), () => {});
    }
    return picture;
  };

  const show = () => {
    const number = Number(slider.value);
    text.textContent = form.dataset.text.replace("#", String(number));
    const name = chosen().nextElementSibling.textContent;
    image.alt = form.dataset.alt.replace("#", String(number)).replace("@", name);
    if (outlines !== null) {
      outlinedText.textContent = looked(number) && form.dataset.looked.replace("#", looked(number));
    }
    const url = address(number);
    wanted = url;
    load(url).then(
      (made) => {
        if (wanted !== url) return; // the hand has moved on
        image.src = made;
        failed.hidden = true;
        for (const next of [number + 1, number - 1, number + 2, number - 2]) {
          if (next >= 1 && next <= count) load(address(next)).catch(() => {});
        }
      },
      () => { if (wanted === url) failed.hidden = false; },
    );
  };

  const go = (number) => {
    slider.value = String(Math.min(Math.max(number, 1), count));
    show();
  };

  const STEPS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };
  form.addEventListener("keydown", (event) => {
    if (event.target.type === "number" || event.target.type === "radio" || event.ctrlKey || event.altKey || event.metaKey) return;
    const windows = form.querySelectorAll("input[name=window]");
    if (event.key in STEPS) go(Number(slider.value) + STEPS[event.key]);
    else if (event.key === "Home") go(1);
    else if (event.key === "End") go(count);
    else if (event.code === "KeyO" && outlines !== null) outlines.click();
    else if (["1", "2", "3"].includes(event.key)) {
      windows[Number(event.key) - 1].checked = true;
      take(windows[Number(event.key) - 1]);
    } else return;
    event.preventDefault();
  });

  const take = (window) => {
    if (window.dataset.centre !== undefined) {
      centre.value = String(Number(window.dataset.centre));
      width.value = String(Number(window.dataset.width));
    }
    show();
  };
  for (const window of form.querySelectorAll("input[name=window]")) {
    window.addEventListener("change", () => take(window));
  }
  for (const value of [centre, width]) {
    value.addEventListener("input", () => {
      if (!value.checkValidity() || value.value === "") return;
      form.querySelector("input[name=window][value=own]").checked = true;
      show();
    });
  }
  slider.addEventListener("input", show);
  if (outlines !== null) outlines.addEventListener("change", show);
  image.addEventListener("error", () => { failed.hidden = false; });
  if (image.complete && image.naturalWidth === 0) failed.hidden = false; // it failed before this script ran
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    go(Number(slider.value) - Math.sign(event.deltaY));
  }, { passive: false });
  for (const link of document.querySelectorAll("a[data-slice]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const window = form.querySelector(`input[name=window][value="${link.dataset.window}"]`);
      window.checked = true;
      slider.value = link.dataset.slice;
      take(window);
      stage.focus({ preventScroll: false });
    });
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); show(); });
});
