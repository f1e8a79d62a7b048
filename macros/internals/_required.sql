{#
  Raises an error unless the test's arguments or the annotations have all that it needs.

    {% do featurelayer._required('fresh_within', {'event_time': view.event_time}) %}
#}
{% macro _required(test, needs) %}
    {% set missing = [] %}
    {% for name, value in needs.items() if value is none or value == [] %}{% do missing.append(name) %}{% endfor %}
    {% if execute and missing %}
        {% do exceptions.raise_compiler_error(
            test ~ ' on ' ~ (model.attached_node or model.name) ~ ': ' ~ missing | join(' and ') ~ ' not known; '
            ~ 'annotate the model (config.event_time, config.meta.featurelayer, join_key of its columns) or give the test its `arguments`'
        ) %}
    {% endif %}
{% endmacro %}
