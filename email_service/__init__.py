"""The mail room: takes commands from RabbitMQ, talks SMTP, writes the ledger, reports outcomes."""
