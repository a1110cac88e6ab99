"""What our numbers stand beside, each in the form its users would write."""
