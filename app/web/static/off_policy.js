// Hides the parts of the candidate form that do not belong to what is chosen. Without a script all of them are shown.
"use strict";

for (const form of document.querySelectorAll("form[data-switch]")) {
  const parts = [...form.querySelectorAll("[data-shown]")].map((element) => {
    const [name, values] = element.dataset.shown.split("=");
    return { element, name, values: values.split(",") };
  });
  const show = () => {
    for (const { element, name, values } of parts) {
      element.hidden = !values.includes(form.elements[name].value);
    }
  };
  form.addEventListener("change", show);
  show();
}
