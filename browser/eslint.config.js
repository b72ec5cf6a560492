import globals from "globals";

const rules = {
  "no-undef": "error",
  "no-unused-vars": "error",
  "no-shadow": "error",
  "prefer-const": "error",
  eqeqeq: "error",
  "no-var": "error",
  "no-implicit-globals": "error",
  // Text goes into the page as text alone.
  "no-restricted-properties": ["error", { property: "innerHTML" }, { property: "outerHTML" }, { property: "insertAdjacentHTML" }],
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "max-len": ["error", { code: 130 }],
};

export default [
  {
    files: ["**/*.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: globals.browser },
    rules,
  },
];
