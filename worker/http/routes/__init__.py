"""One file per noun; every route is a few lines around one flow."""
