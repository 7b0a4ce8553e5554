"""One module per notebook: tables, figures, extras, claims."""
