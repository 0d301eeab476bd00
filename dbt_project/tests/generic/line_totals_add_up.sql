{#- Business rule: a line's total is its quantity times its price. -#}
{% test line_totals_add_up(model) %}
select * from {{ model }} where line_total <> quantity * amount or quantity <= 0 or amount <= 0
{% endtest %}
