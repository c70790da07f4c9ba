"""The API of Azure Personalizer for its clients: its routes, field names, error body and status codes, on our services."""
