"""The CRM: pages and API (web), and what carries letters to and from the broker (dispatch)."""
