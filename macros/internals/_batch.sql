{#
  The (start, end) of the microbatch being built, as naive datetimes in UTC, or none outside of a microbatch.

    {% set batch = featurelayer._batch() %}

  Checks the strategy first, because dbt 2 gives every model a batch.
#}
{% macro _batch() %}
    {% if not execute or config.get('incremental_strategy') != 'microbatch' %}{{ return(none) }}{% endif %}
    {% set batch = model.batch %}
    {% if not batch %}{{ return(none) }}{% endif %}
    {{ return((featurelayer._moment(batch.event_time_start), featurelayer._moment(batch.event_time_end))) }}
{% endmacro %}
