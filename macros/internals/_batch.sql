{#
  The (start, end) of the microbatch that dbt is building now as naive datetimes in UTC, or none elsewhere.

    {% set batch = featurelayer._batch() %}

  The strategy is asked first: dbt 2 gives every model a batch.
#}
{% macro _batch() %}
    {% if not execute or config.get('incremental_strategy') != 'microbatch' %}{{ return(none) }}{% endif %}
    {% set batch = model.batch %}
    {% if not batch %}{{ return(none) }}{% endif %}
    {{ return((featurelayer._moment(batch.event_time_start), featurelayer._moment(batch.event_time_end))) }}
{% endmacro %}
