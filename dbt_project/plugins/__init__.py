"""What knows dbt: the plugin, and the verb `build`."""
