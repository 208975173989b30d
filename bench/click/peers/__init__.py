"""What people would write instead: a FastAPI endpoint that sends itself, and one that hands over to Celery."""
