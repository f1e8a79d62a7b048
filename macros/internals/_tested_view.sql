{#
  The annotations of the tested model or snapshot, overridden by the test's own arguments.

    {% set view = featurelayer._tested_view(keys=keys, event_time=event_time) %}
    view.name, view.key_columns, view.event_time, view.available_at, view.created_timestamp, view.tie_breaker, view.freshness, view.ranges

  Read from the test's attached node, so it works under `config: {where: ...}` too. Everything is empty at parse time,
  when there is no graph.
#}
{% macro _tested_view(keys=none, event_time=none, available_at=none) %}
    {% set node = graph.nodes.get(model.attached_node) if execute and model is mapping %}
    {% set node = node or {'config': {}, 'columns': {}} %}
    {% set view = (node.config.get('meta') or {}).get('featurelayer') or {} %}
    {% set key_columns, ranges = [], {} %}
    {% for column in node.columns.values() %}
        {% set config = column.get('config') or {} %}
        {% set annotation = (config.get('meta') or {}).get('featurelayer') or {} %}
        {% if annotation.get('join_key') or column.get('entity') %}{% do key_columns.append(column.name) %}{% endif %}
        {% if annotation.get('range') %}{% do ranges.update({column.name: annotation.range}) %}{% endif %}
    {% endfor %}
    {% set snapshot_start = (node.config.get('snapshot_meta_column_names') or {}).get('dbt_valid_from') or 'dbt_valid_from' %}
    {% set annotated_time = node.config.get('event_time') or (snapshot_start if node.get('resource_type') == 'snapshot') %}
    {% set version = '.v' ~ node.version if node.get('version') is not none else '' %}
    {{ return({
        'name': (node.get('name') or '') ~ version,
        'key_columns': featurelayer._listed(keys) or key_columns,
        'event_time': event_time or annotated_time or none,
        'available_at': available_at or view.get('available_at'),
        'created_timestamp': view.get('created_timestamp'),
        'tie_breaker': featurelayer._listed(view.get('tie_breaker')),
        'freshness': view.get('freshness') or {},
        'ranges': ranges,
    }) }}
{% endmacro %}
