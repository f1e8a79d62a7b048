{#
  The (start, end) of the microbatch that dbt is building now as naive datetimes in UTC, or none elsewhere.

    {% set batch = featurelayer._batch() %}
#}
{% macro _batch() %}
    {% set batch = model.batch if model is defined and model is mapping %}
    {% if not execute or not batch %}{{ return(none) }}{% endif %}
    {{ return((featurelayer._moment(batch.event_time_start), featurelayer._moment(batch.event_time_end))) }}
{% endmacro %}
