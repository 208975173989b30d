"""What people would write instead: a FastAPI endpoint that sends itself, one that hands over to Celery; and one that
only checks.
"""
