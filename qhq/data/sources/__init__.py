"""Where rows come from, one file a source; `load` hands each table to the panel's checks."""
