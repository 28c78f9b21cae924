(function () {
  "use strict";
  var button = document.getElementById("all-code");
  var blocks = document.querySelectorAll("details.code");
  if (blocks.length) {
    button.hidden = false;
    button.addEventListener("click", function () {
      var show = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(show));
      button.textContent = show ? "Hide all code" : "Show all code";
      blocks.forEach(function (block) { block.open = show; });
    });
  }
  document.querySelectorAll("data.claim").forEach(function (figure) {
    figure.title = figure.getAttribute("data-source") + " = " + figure.value;
  });
})();
