"""The bundled plugins: every module here is loaded. Each imports `harness` and libraries only, never another."""
