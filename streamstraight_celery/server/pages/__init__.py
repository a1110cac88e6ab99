"""The streams page, and the files of the browser client."""
