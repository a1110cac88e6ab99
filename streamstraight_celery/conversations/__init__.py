"""What happens in a conversation: its events, and whose turn it is."""
