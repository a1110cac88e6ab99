"""Tell the application of each stream's end, at least once: `on_end=`."""
