"""Where rows come from, one file a source. A user's file goes through ``files``, which lists its steps."""
