{#
  A naive datetime in UTC from ISO text or a datetime; an offset in it is converted.

    featurelayer._moment('2013-06-01T08:00:00-04:00')    -> 2013-06-01 12:00:00

  Converted by way of text, because dbt 2 has no replace(tzinfo=none), and its %f has nine digits.
#}
{% macro _moment(moment) %}
    {% if moment is string %}
        {% set iso = '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?' %}
        {% if not modules.re.fullmatch(iso, moment | trim) %}
            {% do exceptions.raise_compiler_error("'" ~ moment ~ "' is not a time; write it as 2013-06-01 or 2013-06-01 12:00:00 (UTC)") %}
        {% endif %}
        {% set moment = modules.datetime.datetime.fromisoformat(moment | trim) %}
    {% endif %}
    {% if moment.tzinfo is not none %}
        {% set shifted = (moment - moment.utcoffset()).strftime('%Y-%m-%dT%H:%M:%S.%f')[:26] %}
        {% set moment = modules.datetime.datetime.fromisoformat(shifted) %}
    {% endif %}
    {{ return(moment) }}
{% endmacro %}
