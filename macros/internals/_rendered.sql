{#
  The text of a relation without the time filter that dbt adds for microbatch, --sample and --event-time-start.

    {{ featurelayer._rendered(ref('landed_flights')) }}

  A trailing window must see the events before the batch: a filtered parent would silently empty it.
  The name of a CTE is returned unchanged.
#}
{% macro _rendered(relation) %}
    {{ return(relation if relation is string else relation.render()) }}
{% endmacro %}
