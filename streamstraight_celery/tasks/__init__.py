"""What users decorate and subclass."""
