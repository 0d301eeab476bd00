"""What brings customers' deliveries into raw tables; the only place that knows dlt."""
