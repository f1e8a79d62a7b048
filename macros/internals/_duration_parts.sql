{#
  A duration as (count, unit) pairs with one-letter units, or none if the text is not a duration.

    featurelayer._duration_parts('1 day 12 hours')    -> [(1, 'd'), (12, 'h')]
#}
{% macro _duration_parts(text) %}
    {% set words = {
        's': 's', 'sec': 's', 'second': 's', 'seconds': 's',
        'm': 'm', 'min': 'm', 'minute': 'm', 'minutes': 'm',
        'h': 'h', 'hr': 'h', 'hour': 'h', 'hours': 'h',
        'd': 'd', 'day': 'd', 'days': 'd',
        'w': 'w', 'week': 'w', 'weeks': 'w',
    } %}
    {% set text = (text | string | lower) %}
    {% if not modules.re.fullmatch('(\\s*[0-9]+\\s*[a-z]+\\s*)+', text) %}{{ return(none) }}{% endif %}
    {% set parts = [] %}
    {% for count, word in modules.re.findall('([0-9]+)\\s*([a-z]+)', text) %}
        {% if word not in words %}{{ return(none) }}{% endif %}
        {% do parts.append((count | int, words[word])) %}
    {% endfor %}
    {{ return(parts) }}
{% endmacro %}
